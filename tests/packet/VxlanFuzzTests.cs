using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;
using static Dataplane.PacketTests.Harness.Overlay;

namespace Dataplane.PacketTests;

/// <summary>
/// A million outer packets with random damage, from peers, strangers and nobody, in random buffers, while tunnels come and go; and
/// frames of containers in between. What comes out must be sound, and every packet must be accounted for.
/// </summary>
public sealed unsafe class VxlanFuzzTests
{
    private const int InputsPerRun = 250_000;
    private const int Burst = 60;
    private const int Tunnels = 4;

    private static readonly byte[][] Frames =
    [
        Of(Broadcast, C), Of(A, D), Of(B, A, payload: 0), Tagged(A, C, 10), Reference.Finish(Inet.Udp(100)), Reference.Finish(Inet.Tcp(1000, v6: true)),
        Reference.Finish(Inet.Tcp(40, tags: [10, 20])), Of(A, D, payload: 1400),
    ];

    private static readonly byte[][] Corpus =
    [
        .. Frames.SelectMany(frame => (byte[][])[From(frame), From(frame, v6: true, checksum: true), From(frame, node: 3, ecn: Ecn.Congestion),
            From(frame, node: 2, checksum: true), From(frame, v6: true, node: 4, ecn: Ecn.Capable1)]),
    ];

    [Theory]
    [InlineData(1, 1)]
    [InlineData(2, 1)]
    [InlineData(3, 2)]
    [InlineData(4, 3)]
    public void NothingBreaks(int seed, int workers)
    {
        var random = new Random(seed);
        using TestSwitch sw = new TestSwitch(workers).Port(1).Port(2, takesOffloads: true).AddUnderlay(Underlay);
        for (int i = 0; i < Tunnels; i++)
        {
            sw.Tunnel(FirstTunnel + i, Any(i));
        }
        byte[] packet = new byte[4000];
        List<nint> held = [];
        for (int input = 0; input < InputsPerRun; input++)
        {
            bool isOuter = random.Next(8) != 0;
            byte[] original = isOuter ? Corpus[random.Next(Corpus.Length)] : Frames[random.Next(Frames.Length)];
            int length = Spoil(random, original, packet);
            Inject(sw, random, isOuter ? Underlay : 1 + random.Next(2), packet.AsSpan(0, length), held);
            if (input % Burst != 0)
            {
                continue;
            }
            sw.Poll();
            CheckOutputs(sw, seed, input);
            held.ForEach(mbuf => Shim.dps_mbuf_free((rte_mbuf*)mbuf));
            held.Clear();
            if (input % (Burst * 50) == 0)
            {
                sw.CheckAccounting();
                Reconfigure(sw, random);
            }
        }
        sw.Poll();
        held.ForEach(mbuf => Shim.dps_mbuf_free((rte_mbuf*)mbuf));
        // The damage was not such that nothing came through, or nothing went wrong.
        Assert.True(sw.Counters(Underlay).Consumed > InputsPerRun / 10);
        Assert.True(sw.Counters(Underlay).Originated > InputsPerRun / 20);
        foreach (DropReason reason in (DropReason[])[DropReason.VxlanTruncated, DropReason.VxlanFlags, DropReason.VxlanVni, DropReason.VxlanVtep,
            DropReason.VxlanChecksum, DropReason.VxlanFragment, DropReason.VxlanCongestion])
        {
            Assert.True(sw.Drops(Underlay, reason) != 0, $"{reason} never happened");
        }
    }

    private static TunnelRecord Any(int i) => Record(v6: i % 2 == 1, node: 1 + (i % 4), zeroChecksum: i == 3);

    /// <summary>Copies a packet and damages it. Gives its new length.</summary>
    private static int Spoil(Random random, byte[] original, byte[] packet)
    {
        original.CopyTo(packet, 0);
        int length = original.Length;
        for (int damage = random.Next(3); damage > 0; damage--)
        {
            switch (random.Next(8))
            {
                case 0: // cut
                    length = random.Next(length + 1);
                    break;
                case 1: // cut in the headers
                    length = Math.Min(length, random.Next(120));
                    break;
                case 2: // padding
                    int more = random.Next(60);
                    random.NextBytes(packet.AsSpan(length, more));
                    length += more;
                    break;
                case 3: // a bit of the outer headers
                    packet[random.Next(Math.Clamp(length, 1, 80))] ^= (byte)(1 << random.Next(8));
                    break;
                case 4: // a byte of them, with a right IPv4 checksum, so that more than the router looks at it
                    packet[14 + random.Next(Math.Clamp(length - 14, 1, 60))] = (byte)random.Next(256);
                    Repair(packet, length);
                    break;
                case 5 when length > 60: // fragments
                    packet[20] = (byte)random.Next(256);
                    Repair(packet, length);
                    break;
                case 6 when length > 80: // a VXLAN flag or VNI
                    packet[(packet[14] >> 4 == 6 ? 62 : 42) + random.Next(8)] = (byte)random.Next(256);
                    break;
                default: // a bit anywhere
                    packet[random.Next(Math.Max(1, length))] ^= (byte)(1 << random.Next(8));
                    break;
            }
        }
        return length;
    }

    private static void Repair(byte[] packet, int length)
    {
        int header = (packet[14] & 15) * 4;
        if (packet[14] >> 4 == 4 && header >= 20 && length >= 14 + header)
        {
            packet.AsSpan(24, 2).Clear();
            System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(24), Reference.Checksum(packet.AsSpan(14, header)));
        }
    }

    private static void Inject(TestSwitch sw, Random random, int port, ReadOnlySpan<byte> packet, List<nint> held)
    {
        int first = random.Next(6) switch
        {
            0 => random.Next(120),
            1 => random.Next(Math.Max(1, packet.Length)),
            _ => int.MaxValue,
        };
        rte_mbuf* mbuf = MbufCopy.FromBytes(packet, sw.Engine.Small, sw.Engine.Large, first);
        if (mbuf == null)
        {
            return;
        }
        if (random.Next(16) == 0)
        {
            Offload.Accept(mbuf, new virtio_net_hdr
            {
                flags = 1, csum_start = (ushort)random.Next(160), csum_offset = (ushort)(random.Next(2) == 0 ? 6 : 16),
                gso_type = (byte)(random.Next(3) == 0 ? 1 : 0), gso_size = (ushort)random.Next(1000),
            });
        }
        if (random.Next(32) == 0)
        {
            Shim.dps_mbuf_ref(mbuf, 1);
            held.Add((nint)mbuf);
        }
        Assert.True(sw.TryInject(port, mbuf));
    }

    private static void CheckOutputs(TestSwitch sw, int seed, int input)
    {
        foreach (int port in (int[])[1, 2, Underlay])
        {
            uint limit = sw.Writer.Port(port).Mtu + 18u;
            rte_mbuf* mbuf;
            while ((mbuf = sw.TakeMbuf(port)) != null)
            {
                byte* reason;
                bool sound = Shim.dps_mbuf_check(mbuf, &reason) == 0 && mbuf->data_len >= 14;
                bool fits = (mbuf->ol_flags & Offload.SegmentFlag) != 0 || mbuf->pkt_len <= limit;
                bool finished = !Offload.IsPending(mbuf) || sw[port].TakesOffloads;
                // What leaves by the underlay are outer packets, and errors and answers of the router.
                if (!(sound && fits && finished))
                {
                    Assert.Fail($"seed {seed}, up to input {input}: port {port} was sent {mbuf->pkt_len} bytes in {mbuf->nb_segs} buffers: "
                        + $"sound {sound}, fits {fits}, finished {finished}: {Convert.ToHexString(MbufCopy.ToBytes(mbuf))}");
                }
                Shim.dps_mbuf_free(mbuf);
            }
        }
    }

    private static void Reconfigure(TestSwitch sw, Random random)
    {
        int tunnel = random.Next(Tunnels);
        switch (random.Next(6))
        {
            case 0:
                sw.Tunnel(FirstTunnel + tunnel, default);
                break;
            case 1:
                sw.Tunnel(FirstTunnel + tunnel, Any(random.Next(4)));
                break;
            case 2:
                sw.RouteBy(random.Next(3) == 0 ? Adjacency(FirstTunnel + tunnel) : Adjacency(Underlay));
                break;
            case 3:
                sw.Flags(FirstTunnel + tunnel, clear: PortFlags.Enabled);
                break;
            case 4:
                sw.Change(Underlay, record => record with { Mtu = (ushort)random.Next(100, 2000) });
                break;
            default: // back to normal
                for (int i = 0; i < Tunnels; i++)
                {
                    sw.Tunnel(FirstTunnel + i, Any(i));
                }
                sw.RouteBy(Adjacency(Underlay));
                sw.Change(Underlay, record => record with { Mtu = Mtu });
                break;
        }
    }
}
