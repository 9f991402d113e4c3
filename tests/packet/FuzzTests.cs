using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Real frames with random damage, in random buffers, with random offload requests, through a switch whose configuration changes
/// all the time. Nothing is known of what should come out, but much of what must not.
/// </summary>
public sealed unsafe class FuzzTests
{
    private const int InputsPerRun = 300_000;
    private const int Burst = 48;
    private const int Ports = 7;

    /// <summary>What a bridge between containers carries: the frames begin here and are then spoilt.</summary>
    private static readonly Unfinished[] Corpus =
    [
        Plain("ffffffffffff02000000000a0806000108000604000102000000000aac120002000000000000ac120003"), // ARP request
        Plain("02000000000a02000000000b0806000108000604000202000000000bac12000302000000000aac120002"), // ARP reply
        Plain("02000000000b02000000000a080045000054000040004001e27aac120002ac1200030800f7ff00010001" + new string('5', 112)), // ICMP echo
        Plain("3333ff00000302000000000a86dd6000000000203afffd000000000000000000000000000002ff0200000000000000000001ff0000038700d8b800000000fd000000000000000000000000000003010102000000000a"), // neighbour solicitation
        Plain("01005e00001602000000000a080046c00028000040000102e3c7ac120002e000001694040000220009fd0000000104000000e00000fb"), // IGMP
        Plain("0180c200000002000000000a0026424203000000000080000200000000000a00000000800002000000000a8001000014000200" + "0f00" + new string('0', 16)), // spanning tree
        Plain("0180c200000e02000000000a88cc020704020000000a04070302000000000b060200780000"), // LLDP
        Plain("02000000000b02000000000a08004500003c1c4640004011c62eac120002ac1200034e20" + "12b500280000080000000000050002000000001102000000001208060001"), // VXLAN
        new(Of(B, A), default),
        new(Of(Broadcast, B, payload: 1500), default),
        new(Of(C, B, payload: 4000), default),
        new(Tagged(B, A, 10), default),
        new(Tagged(A, B, 0x6000 | 20, 30), default),
        new(Tagged(Broadcast, C, 0), default),
        new(WithTags(Of(B, A), ServiceTag(100), 10), default),
        Inet.Tcp(0, flags: Inet.Syn, options: 20),
        Inet.Tcp(1000, tags: [10]),
        Inet.Tcp(9000, 1448, options: 12),
        Inet.Tcp(3000, 1000, v6: true, tags: [10, 20]),
        Inet.Tcp(3000, 500, v6: true, ipOptions: 16, destination: A, source: B),
        Inet.Udp(3000, 1200),
        Inet.Udp(200, v6: true, tags: [20]),
    ];

    public static TheoryData<int, bool, int> Runs => new()
    {
        // seed, VLAN-aware, workers
        { 1, false, 1 },
        { 2, true, 1 },
        { 3, false, 3 },
        { 4, true, 2 },
    };

    [Theory]
    [MemberData(nameof(Runs))]
    public void NothingBreaks(int seed, bool vlanAware, int workers)
    {
        var random = new Random(seed);
        using TestSwitch sw = Switch(vlanAware, workers);
        byte[] frame = new byte[70_000];
        List<nint> held = [];
        for (int input = 0; input < InputsPerRun; input++)
        {
            Unfinished original = Corpus[random.Next(Corpus.Length)];
            virtio_net_hdr vnet = original.Vnet;
            int length = Spoil(random, original.Frame, frame, ref vnet);
            Inject(sw, random, frame.AsSpan(0, length), vnet, held);
            if (input % Burst != 0)
            {
                continue;
            }
            sw.Poll();
            CheckOutputs(sw, seed, input);
            foreach (nint mbuf in held)
            {
                Shim.dps_mbuf_free((rte_mbuf*)mbuf);
            }
            held.Clear();
            if (input % (Burst * 64) == 0)
            {
                sw.CheckAccounting();
                Reconfigure(sw, random);
            }
        }
        sw.Poll();
        held.ForEach(mbuf => Shim.dps_mbuf_free((rte_mbuf*)mbuf));
        // The damage was not such that nothing came through, or nothing went wrong.
        Assert.True(Enumerable.Range(1, Ports).Sum(port => (long)sw.Counters(port).TxPackets) > InputsPerRun / 2);
        Assert.True(DropReasons.All.Count(reason => Enumerable.Range(1, Ports).Any(port => sw.Drops(port, reason) != 0)) >= 8);
    }

    private static TestSwitch Switch(bool vlanAware, int workers)
    {
        TestSwitch sw = new(workers, bridge: vlanAware ? TestSwitch.VlanAware : b => b with { Mac = MacAddress.Parse(D).Value });
        sw.Trunk(1, [10, 20, 30], native: 10).Access(2, 10).Trunk(3, [10, 20]).Access(4, 20, takesOffloads: true)
            .Trunk(5, [10, 20, 30], native: 20, takesOffloads: true).Access(6, 10).Trunk(7, [30], native: 10);
        sw.Change(2, record => record with { Mtu = 9000, LearnLimit = 8 });
        sw.Change(6, record => record with { StormRate = 1000, StormBurst = 100 });
        return sw;
    }

    /// <summary>Copies a frame and damages it. Gives its new length.</summary>
    private static int Spoil(Random random, byte[] original, byte[] frame, ref virtio_net_hdr vnet)
    {
        original.CopyTo(frame, 0);
        int length = original.Length;
        for (int damage = random.Next(4); damage > 0; damage--)
        {
            switch (random.Next(9))
            {
                case 0: // cut
                    length = random.Next(length + 1);
                    break;
                case 1: // cut close to the headers
                    length = Math.Min(length, random.Next(64));
                    break;
                case 2: // grow
                    int more = random.Next(8) == 0 ? random.Next(60_000) : random.Next(100);
                    more = Math.Min(more, 66_000 - length);
                    random.NextBytes(frame.AsSpan(length, more));
                    length += more;
                    break;
                case 3: // a bit
                    frame[random.Next(Math.Max(1, length))] ^= (byte)(1 << random.Next(8));
                    break;
                case 4: // a byte of the headers
                    frame[random.Next(Math.Clamp(length, 1, 80))] = (byte)random.Next(256);
                    break;
                case 5 when length >= 12: // a tag
                    frame.AsSpan(12, length - 12).CopyTo(frame.AsSpan(16));
                    frame[12] = (byte)(random.Next(4) == 0 ? 0x88 : 0x81);
                    frame[13] = (byte)(frame[12] == 0x81 ? 0 : 0xA8);
                    frame[14] = (byte)random.Next(256);
                    frame[15] = (byte)(random.Next(5) * 10);
                    length += 4;
                    break;
                case 6 when length >= 16: // two parts exchanged
                    int a = random.Next(length - 8), b = random.Next(length - 8);
                    ulong kept = BitConverter.ToUInt64(frame, a);
                    frame.AsSpan(b, 8).CopyTo(frame.AsSpan(a));
                    BitConverter.TryWriteBytes(frame.AsSpan(b), kept);
                    break;
                case 7: // the offload request
                    switch (random.Next(6))
                    {
                        case 0: vnet.csum_start = (ushort)random.Next(65536); break;
                        case 1: vnet.csum_start = (ushort)random.Next(100); break;
                        case 2: vnet.csum_offset = (ushort)(random.Next(2) == 0 ? random.Next(40) : random.Next(65536)); break;
                        case 3: vnet.gso_size = (ushort)(random.Next(2) == 0 ? random.Next(20) : random.Next(65536)); break;
                        case 4: vnet.gso_type = (byte)random.Next(256); break;
                        default: vnet.flags ^= 1; break;
                    }
                    break;
                default: // another address
                    ulong mac = MacAddress.Parse(Mac(random.Next(200))).Value;
                    new MacAddress(mac).CopyTo(frame.AsSpan(random.Next(2) * 6, 6));
                    break;
            }
        }
        return length;
    }

    private static void Inject(TestSwitch sw, Random random, ReadOnlySpan<byte> frame, in virtio_net_hdr vnet, List<nint> held)
    {
        int first = random.Next(4) switch
        {
            0 => random.Next(80),
            1 => random.Next(Math.Max(1, frame.Length)),
            _ => int.MaxValue,
        };
        rte_mbuf* mbuf = MbufCopy.FromBytes(frame, sw.Engine.Small, sw.Engine.Large, first);
        if (mbuf == null)
        {
            return; // the pools are empty: there are more giants in flight than large buffers
        }
        if (!Offload.Accept(mbuf, vnet))
        {
            Assert.Equal(0ul, mbuf->ol_flags & Offload.PendingMask);
        }
        if (random.Next(16) == 0)
        {
            Shim.dps_mbuf_ref(mbuf, 1);
            held.Add((nint)mbuf);
        }
        Assert.True(sw.TryInject(1 + random.Next(Ports), mbuf));
    }

    private static void CheckOutputs(TestSwitch sw, int seed, int input)
    {
        for (int port = 1; port <= Ports; port++)
        {
            uint limit = sw.Writer.Port(port).Mtu + 18u;
            rte_mbuf* mbuf;
            while ((mbuf = sw.TakeMbuf(port)) != null)
            {
                byte* reason;
                bool sound = Shim.dps_mbuf_check(mbuf, &reason) == 0;
                bool headers = mbuf->data_len >= 14 && (Mbuf.Data(mbuf)[6] & 1) == 0;
                bool pending = Offload.IsPending(mbuf);
                bool fits = (mbuf->ol_flags & Offload.SegmentFlag) != 0 || mbuf->pkt_len <= limit;
                bool finished = !pending || sw[port].TakesOffloads;
                if (!(sound && headers && fits && finished))
                {
                    Assert.Fail($"seed {seed}, up to input {input}: port {port} was sent {mbuf->pkt_len} bytes in {mbuf->nb_segs} buffers: "
                        + $"sound {sound}, headers {headers}, fits {fits}, finished {finished}: {Convert.ToHexString(MbufCopy.ToBytes(mbuf))}");
                }
                Shim.dps_mbuf_free(mbuf);
            }
        }
    }

    /// <summary>Whatever an administrator might do, and time.</summary>
    private static void Reconfigure(TestSwitch sw, Random random)
    {
        int port = 1 + random.Next(Ports);
        switch (random.Next(8))
        {
            case 0:
                PortFlags flag = (PortFlags)(1 << random.Next(1, 12));
                sw.Change(port, record => record with { Flags = record.Flags ^ flag });
                break;
            case 1:
                sw.Change(port, record => record with { Mtu = (ushort)random.Next(68, 10_000) });
                break;
            case 2:
                sw.Change(port, record => TestSwitch.Vlan(record, [10, 20, 30 + random.Next(3)], random.Next(3) * 10));
                break;
            case 3:
                // The table may be full, of addresses that came from the frames.
                sw.Writer.SetStaticMac(sw.Key(Mac(random.Next(200)), random.Next(3) * 10), (ushort)random.Next(Ports + 1), (MacFlags)random.Next(1, 4));
                break;
            case 4:
                sw.Writer.RemoveMacs((in MacEntry entry, object? _) => entry.Port == port);
                break;
            case 5:
                sw.Runtime(port).State = PortState.Up;
                break;
            case 6:
                sw.Age(TimeSpan.FromSeconds(random.Next(400)));
                break;
            default: // back to normal, lest all ports end disabled
                for (int i = 1; i <= Ports; i++)
                {
                    sw.Runtime(i).State = PortState.Up;
                    sw.Change(i, record => record with { Flags = record.Flags | PortFlags.Default });
                }
                break;
        }
    }

    private static Unfinished Plain(string hex) => new(Convert.FromHexString(hex), default);
}
