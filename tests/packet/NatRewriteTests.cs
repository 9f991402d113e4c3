using System.Buffers.Binary;
using System.Net;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;

namespace Dataplane.PacketTests;

/// <summary>
/// What a packet becomes by translation: byte for byte the packet that somebody with the other addresses and ports would have sent,
/// whose checksums were summed up anew and not corrected.
/// </summary>
public sealed unsafe class NatRewriteTests
{
    /// <summary>Addresses and ports of a packet as people write them. Of an echo the first port is the identifier.</summary>
    private readonly record struct Ends(string Source, string Destination, int From, int To)
    {
        public bool IsV6 => Source.Contains(':', StringComparison.Ordinal);
        public Ends Reverse() => new(Destination, Source, To, From);
    }

    /// <param name="Description">What it is.</param>
    /// <param name="Make">The packet with these ends.</param>
    /// <param name="Ports">Whether ports change, or the addresses alone.</param>
    private sealed record Row(string Description, Func<Ends, int, Ip> Make, bool Ports = true, bool V4 = true, bool V6 = true);

    private static readonly Row[] Table =
    [
        new("UDP", (e, n) => Ip.OfUdp(e.Source, e.Destination, e.From, e.To, n)),
        new("UDP without a checksum", (e, n) => Unsummed(Ip.OfUdp(e.Source, e.Destination, e.From, e.To, n))),
        new("TCP", (e, n) => Ip.OfTcp(e.Source, e.Destination, e.From, e.To, Inet.Ack, payload: n)),
        new("TCP with options", (e, n) => Ip.OfTcp(e.Source, e.Destination, e.From, e.To, Inet.Syn, [2, 4, 5, 180, 1, 1, 1, 0], n)),
        new("SCTP", Sctp),
        new("an echo request", (e, n) => Echo(e, n, e.From, isReply: false)),
        new("an echo reply", (e, n) => Echo(e, n, e.To, isReply: true)),
        new("GRE", (e, n) => new Ip(e.Source, e.Destination, 47, Bytes(n)), Ports: false),
        new("UDP-Lite", (e, n) => AsUdpLite(Ip.OfUdp(e.Source, e.Destination, 7, 8, n)), Ports: false),
        new("a packet with options", (e, n) => Ip.OfUdp(e.Source, e.Destination, e.From, e.To, n) with { Options = [1, 1, 1, 0] }, V6: false),
        new("the first fragment", (e, n) => Ip.OfUdp(e.Source, e.Destination, e.From, e.To, n) with { Fragment = 0x2000 }, V6: false),
        new("the first fragment of TCP", (e, n) => Ip.OfTcp(e.Source, e.Destination, e.From, e.To, Inet.Ack, payload: n) with { Fragment = 0x2000 }, V6: false),
        new("a later fragment", (e, n) => new Ip(e.Source, e.Destination, 17, Bytes(n)) { Fragment = 0x2010 }, Ports: false, V6: false),
        new("a packet behind options", (e, n) => Behind(Ip.OfUdp(e.Source, e.Destination, e.From, e.To, n), 60, [0, 1, 4, 0, 0, 0, 0]), V4: false),
        new("the first IPv6 fragment", (e, n) => Behind(Ip.OfUdp(e.Source, e.Destination, e.From, e.To, n), 44, [0, 0, 1, 1, 2, 3, 4]), V4: false),
        new("a later IPv6 fragment", (e, n) => Behind(new Ip(e.Source, e.Destination, 17, Bytes(n)), 44, [0, 0, 81, 1, 2, 3, 4]), Ports: false, V4: false),
        new("an error about UDP", (e, n) => Error(Ip.OfUdp(e.Destination, e.Source, e.To, e.From, n))),
        new("an error about UDP without a checksum", (e, n) => Error(Unsummed(Ip.OfUdp(e.Destination, e.Source, e.To, e.From, n)))),
        new("an error about TCP", (e, n) => Error(Ip.OfTcp(e.Destination, e.Source, e.To, e.From, Inet.Ack, payload: n))),
        new("an error about 8 bytes of TCP", (e, n) => Error(Ip.OfTcp(e.Destination, e.Source, e.To, e.From, Inet.Ack, payload: n), 8)),
        new("an error about an echo request", (e, n) => Error(Echo(e.Reverse(), n, e.To, isReply: false))),
        new("an error about an echo reply", (e, n) => Error(Echo(e.Reverse(), n, e.From, isReply: true))),
        new("an error about GRE", (e, n) => Error(new Ip(e.Destination, e.Source, 47, Bytes(n))), Ports: false),
        new("an error about a packet with options", (e, n) => Error(Ip.OfUdp(e.Destination, e.Source, e.To, e.From, n) with { Options = [1, 1, 1, 0] }), V6: false),
        new("an error in a packet with options", (e, n) => Error(Ip.OfUdp(e.Destination, e.Source, e.To, e.From, n)) with { Options = [1, 1, 1, 0] }, V6: false),
    ];

    public static TheoryData<string, bool> Rows
    {
        get
        {
            var data = new TheoryData<string, bool>();
            foreach (Row row in Table)
            {
                if (row.V4)
                {
                    data.Add(row.Description, false);
                }
                if (row.V6)
                {
                    data.Add(row.Description, true);
                }
            }
            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void Becomes_what_the_other_would_have_sent(string description, bool v6)
    {
        Row row = Table.Single(r => r.Description == description);
        var random = new Random(5);
        for (int round = 0; round < 2000; round++)
        {
            (Ends from, Ends to) = (Some(random, v6), Some(random, v6));
            // One end at least stays, as a rule.
            to = (round % 4) switch
            {
                0 => to with { Source = from.Source, From = from.From },
                1 => to with { Destination = from.Destination, To = from.To },
                2 => from,
                _ => to,
            };
            int payload = random.Next(1, 200);
            byte[] expected = Framed(row.Make(to, payload)), frame = Framed(row.Make(from, payload));
            Assert.Equal(DropReason.Count, Rewrite(frame, to, row.Ports));
            Assert.Equal(Convert.ToHexString(expected), Convert.ToHexString(frame));
        }
    }

    /// <summary>The field of a sender that leaves the sum to others, be it of a large segment.</summary>
    [Theory]
    [InlineData(true, false, 0)]
    [InlineData(true, true, 0)]
    [InlineData(true, false, 500)]
    [InlineData(true, true, 500)]
    [InlineData(false, false, 0)]
    [InlineData(false, true, 0)]
    [InlineData(false, true, 500)]
    public void Left_open_sums_stay_open(bool tcp, bool v6, int mss)
    {
        var random = new Random(6);
        for (int round = 0; round < 200; round++)
        {
            Unfinished packet = tcp ? Inet.Tcp(1300, mss, v6) : Inet.Udp(1300, mss, v6);
            Ends to = Some(random, v6);
            byte[] frame = [.. packet.Frame];
            Assert.Equal(DropReason.Count, Rewrite(frame, to, ports: true, packet.Vnet));
            var rewritten = new Unfinished(frame, packet.Vnet);
            Ip ip = Ip.Of(Reference.Finish(rewritten));
            Assert.True(ip.IsPayloadGood);
            Assert.Equal((to.Source, to.Destination, to.From, to.To), (ip.Source, ip.Destination, ip.Word(0), ip.Word(2)));
            if (mss != 0)
            {
                Assert.All(Reference.Cut(rewritten), part => Assert.True(Ip.Of(part).IsPayloadGood));
            }
        }
    }

    /// <summary>Translation repairs nothing: who gets the packet still sees that it was damaged.</summary>
    [Theory]
    [InlineData(6)]
    [InlineData(17)]
    [InlineData(132)]
    [InlineData(1)]
    public void Damage_stays(int protocol)
    {
        var random = new Random(7);
        for (int round = 0; round < 500; round++)
        {
            (Ends from, Ends to) = (Some(random, v6: false), Some(random, v6: false));
            byte[] frame = Framed(Make(from)), expected = Framed(Make(to));
            int at = random.Next(14 + 20 + 20, frame.Length), bit = 1 << random.Next(8);
            frame[at] ^= (byte)bit;
            expected[at] ^= (byte)bit;
            Assert.Equal(DropReason.Count, Rewrite(frame, to, ports: true));
            Assert.Equal(Convert.ToHexString(expected), Convert.ToHexString(frame));
        }
        Ip Make(Ends e) => protocol switch
        {
            6 => Ip.OfTcp(e.Source, e.Destination, e.From, e.To, Inet.Ack, payload: 40),
            17 => Ip.OfUdp(e.Source, e.Destination, e.From, e.To, 40),
            132 => Sctp(e, 40),
            _ => Echo(e, 40, e.From, isReply: false),
        };
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void A_damaged_error_is_none(bool v6)
    {
        Ends ends = v6 ? new("fd00::1", "fd00::2", 1, 2) : new("10.0.0.1", "10.0.0.2", 1, 2);
        byte[] frame = Framed(Error(Ip.OfUdp(ends.Destination, ends.Source, 2, 1, 40)));
        for (int at = 14 + (v6 ? 40 : 20) + 8 + (v6 ? 40 : 20); at < frame.Length; at++)
        {
            byte[] damaged = [.. frame];
            damaged[at] ^= 0x40;
            byte[] before = [.. damaged];
            Assert.Equal(DropReason.BadIcmp, Rewrite(damaged, Some(new Random(1), v6), ports: true));
            Assert.Equal(before, damaged);
        }
    }

    /// <summary>The CRC of a whole SCTP packet does not stand in its first fragment. With its ports as they are it can pass.</summary>
    [Fact]
    public void A_fragment_of_SCTP_keeps_its_ports()
    {
        Ends from = new("10.0.0.1", "10.0.0.2", 5000, 6000), to = new("10.0.0.3", "10.0.0.4", 5000, 6000);
        byte[] frame = Framed(Sctp(from, 40) with { Fragment = 0x2000 }), before = [.. frame];
        Assert.Equal(DropReason.Limit, Rewrite(frame, to with { To = 6001 }, ports: true));
        Assert.Equal(before, frame);
        Assert.Equal(DropReason.Count, Rewrite(frame, to, ports: true));
        Assert.Equal(Framed(Sctp(to, 40) with { Fragment = 0x2000 }), frame);
    }

    [Fact]
    public void What_belongs_to_no_flow_is_not_rewritten()
    {
        byte[] timestamp = Framed(Ip.OfIcmp("10.0.0.1", "10.0.0.2", 13, 0, Bytes(16)));
        Assert.Equal(DropReason.Limit, Rewrite(timestamp, Some(new Random(1), v6: false), ports: true));
        byte[] cut = Framed(new Ip("10.0.0.1", "10.0.0.2", 17, Bytes(6)));
        Assert.Equal(DropReason.Limit, Rewrite(cut, Some(new Random(1), v6: false), ports: true));
    }

    /// <summary>Rewrites a frame in place. <see cref="DropReason.Limit"/> where it says no.</summary>
    private static DropReason Rewrite(byte[] frame, Ends to, bool ports, virtio_net_hdr? vnet = null)
    {
        fixed (byte* p = frame)
        {
            byte* memory = stackalloc byte[sizeof(rte_mbuf) + sizeof(PacketMeta)];
            new Span<byte>(memory, sizeof(rte_mbuf) + sizeof(PacketMeta)).Clear();
            rte_mbuf* mbuf = (rte_mbuf*)memory;
            mbuf->buf_addr = p;
            mbuf->data_len = (ushort)frame.Length;
            mbuf->pkt_len = (uint)frame.Length;
            mbuf->nb_segs = 1;
            if (vnet is { } header)
            {
                Assert.True(Offload.Accept(mbuf, in header));
            }
            PacketFlow flow;
            if (to.IsV6)
            {
                PacketFlow.Read6(mbuf, out flow);
            }
            else
            {
                PacketFlow.Read4(mbuf, out flow);
            }
            Translation translation = new(Number(to.Source), Number(to.Destination), (ushort)to.From, (ushort)to.To);
            if (flow.Kind == FlowKind.Error)
            {
                Assert.True(PacketFlow.TryReadQuoted(p, flow.Transport + Icmp.Header, frame.Length, to.IsV6, out PacketFlow quoted));
                return NatRewrite.ApplyToError(mbuf, in flow, in quoted, in translation);
            }
            Assert.True(ports || flow.Kind is FlowKind.Addresses or FlowKind.LaterFragment);
            return NatRewrite.TryApply(mbuf, in flow, in translation) ? DropReason.Count : DropReason.Limit;
        }
    }

    private static Ends Some(Random random, bool v6)
    {
        return new Ends(Address(), Address(), random.Next(65536), random.Next(65536));
        string Address()
        {
            byte[] bytes = new byte[v6 ? 16 : 4];
            random.NextBytes(bytes);
            if (v6)
            {
                bytes[0] = 0x20;
            }
            return new IPAddress(bytes).ToString();
        }
    }

    private static IPv6Number Number(string address)
    {
        byte[] bytes = IPAddress.Parse(address).GetAddressBytes();
        return bytes.Length == 4
            ? new IPv6Number(0, BinaryPrimitives.ReadUInt32BigEndian(bytes))
            : new IPv6Number(BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(8)));
    }

    private static byte[] Framed(Ip packet) => packet.In(Frame.B, Frame.A);

    private static byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(i => (byte)(i * 11))];

    private static Ip Unsummed(Ip packet)
    {
        packet.Payload.AsSpan(6, 2).Clear();
        return packet;
    }

    private static Ip AsUdpLite(Ip udp)
    {
        udp.Payload.AsSpan(6, 2).Clear();
        Ip lite = udp with { Protocol = 136 };
        BinaryPrimitives.WriteUInt16BigEndian(lite.Payload.AsSpan(6), Ip.PseudoChecksum(lite.Source, lite.Destination, 136, lite.Payload));
        return lite;
    }

    private static Ip Behind(Ip packet, byte extension, byte[] rest) => packet with { Protocol = extension, Options = [packet.Protocol, .. rest] };

    private static Ip Echo(Ends e, int payload, int identifier, bool isReply) => Ip.OfIcmp(e.Source, e.Destination,
        (byte)((e.IsV6, isReply) switch { (false, false) => 8, (false, true) => 0, (true, false) => 128, _ => 129 }), 0,
        [.. Ip.Big16(identifier), .. Ip.Big16(1), .. Bytes(payload)]);

    /// <summary>From the destination of a packet to its source: that it was too big, or its time exceeded.</summary>
    private static Ip Error(Ip packet, int bytes = int.MaxValue)
    {
        byte[] quoted = packet.ToBytes();
        int header = packet.IsV6 ? 40 : 20 + packet.Options.Length;
        return Ip.OfIcmp(packet.Destination, packet.Source, packet.IsV6 ? (byte)2 : (byte)11, 0,
            [0, 0, 5, 0, .. quoted[..Math.Min(quoted.Length, bytes == int.MaxValue ? bytes : header + bytes)]]);
    }

    private static Ip Sctp(Ends e, int payload) => Ip.OfSctp(e.Source, e.Destination, e.From, e.To, 0, payload);
}
