using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Ports;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Work that a sender left undone: passed on untouched to a port that takes it, done in software for one that does not. What
/// was done is read back by <see cref="Reference"/>, and a sample of it by tshark.
/// </summary>
public sealed unsafe class OffloadTests
{
    private const int MaxTcp4 = ushort.MaxValue - 20 - 20;

    private static readonly (string Description, Unfinished Packet)[] Segments =
    [
        ("TCPv4, three segments and a bit", Inet.Tcp(4500, 1448)),
        ("TCPv4, one segment that is not full", Inet.Tcp(100, 1448)),
        ("TCPv4, one full segment", Inet.Tcp(1448, 1448)),
        ("TCPv4, one byte too many", Inet.Tcp(1449, 1448)),
        ("TCPv4, full segments only", Inet.Tcp(3 * 1448, 1448)),
        ("TCPv4, as large as it can be", Inet.Tcp(MaxTcp4, 1448)),
        ("TCPv4, odd sizes", Inet.Tcp(7777, 1111)),
        ("TCPv4, segments of one byte", Inet.Tcp(1000, 1)),
        ("TCPv4, as many segments as there may be", Inet.Tcp(1024, 1)),
        ("TCPv4 with a time stamp", Inet.Tcp(20_000, 1448, options: 12)),
        ("TCPv4 with all options there may be", Inet.Tcp(20_000, 1400, options: 40)),
        ("TCPv4 with IP options", Inet.Tcp(5000, 1400, ipOptions: 24)),
        ("TCPv4 with IP and TCP options", Inet.Tcp(5000, 1400, options: 20, ipOptions: 40)),
        ("TCPv4, end of a stream", Inet.Tcp(5000, 1448, flags: Inet.Ack | Inet.Fin | Inet.Psh)),
        ("TCPv4, end of a stream in one segment", Inet.Tcp(1000, 1448, flags: Inet.Ack | Inet.Fin | Inet.Psh)),
        ("TCPv4, congestion window reduced", Inet.Tcp(5000, 1448, flags: Inet.Ack | Inet.Cwr)),
        ("TCPv4, all of these flags", Inet.Tcp(5000, 1448, flags: Inet.Ack | Inet.Cwr | Inet.Ece | Inet.Fin | Inet.Psh)),
        ("TCPv4, in a VLAN", Inet.Tcp(5000, 1448, tags: [0x6000 | 10])),
        ("TCPv4, in a VLAN in a VLAN", Inet.Tcp(5000, 1440, tags: [10, 20])),
        ("TCPv4, in a VLAN in a service VLAN", Inet.Tcp(5000, 1440, tags: [ServiceTag(100), 10])),
        ("TCPv4, jumbo segments", Inet.Tcp(40_000, 8948)),
        ("TCPv6, three segments and a bit", Inet.Tcp(4500, 1428, v6: true)),
        ("TCPv6, as large as it can be", Inet.Tcp(ushort.MaxValue - 20, 1428, v6: true)),
        ("TCPv6 with a time stamp", Inet.Tcp(20_000, 1428, v6: true, options: 12)),
        ("TCPv6 with an extension header", Inet.Tcp(20_000, 1400, v6: true, ipOptions: 16)),
        ("TCPv6, all flags, in a VLAN", Inet.Tcp(9999, 1401, v6: true, flags: Inet.Ack | Inet.Cwr | Inet.Fin | Inet.Psh, tags: [4094])),
        ("UDPv4, datagrams", Inet.Udp(10_000, 1400)),
        ("UDPv4, odd sizes", Inet.Udp(9999, 1397)),
        ("UDPv4, full datagrams only", Inet.Udp(2800, 1400)),
        ("UDPv4 with IP options, in a VLAN", Inet.Udp(5000, 1200, ipOptions: 8, tags: [10])),
        ("UDPv6, datagrams", Inet.Udp(10_000, 1400, v6: true)),
        ("UDPv6 with an extension header", Inet.Udp(5001, 999, v6: true, ipOptions: 8)),
    ];

    private static readonly (string Description, Unfinished Packet)[] Checksums =
    [
        ("TCPv4", Inet.Tcp(1000)),
        ("TCPv4 without payload", Inet.Tcp(0, flags: Inet.Syn)),
        ("TCPv4, odd", Inet.Tcp(1)),
        ("TCPv4 with options", Inet.Tcp(777, options: 40, ipOptions: 40)),
        ("TCPv4 in two VLANs", Inet.Tcp(777, tags: [10, 20])),
        ("TCPv6", Inet.Tcp(1001, v6: true)),
        ("TCPv6 with a long extension header", Inet.Tcp(55, v6: true, ipOptions: 24)),
        ("UDPv4", Inet.Udp(1000)),
        ("UDPv4 without payload", Inet.Udp(0)),
        ("UDPv4, a sum of zero", WithSumZero(Inet.Udp(2))),
        ("UDPv6, a sum of zero", WithSumZero(Inet.Udp(2, v6: true))),
        ("UDPv6, odd", Inet.Udp(999, v6: true)),
        ("UDPv4, larger than a small buffer", Inet.Udp(8001)),
    ];

    public static TheoryData<string> SegmentRows => [.. Segments.Select(row => row.Description)];
    public static TheoryData<string> ChecksumRows => [.. Checksums.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(SegmentRows))]
    [MemberData(nameof(ChecksumRows))]
    public void BetweenPortsThatTakeItNothingIsTouched(string description)
    {
        Unfinished packet = Packet(description);
        using TestSwitch sw = Three();
        sw.Send(1, packet);
        Unfinished got = Assert.Single(sw.TakeUnfinished(3));
        Assert.Equal(packet.Frame, got.Frame);
        Assert.Equal(packet.Vnet, got.Vnet);
    }

    [Theory]
    [MemberData(nameof(SegmentRows))]
    public void IsCutInSoftware(string description)
    {
        Unfinished packet = Packet(description);
        using TestSwitch sw = Three();
        sw.Send(1, packet);
        List<Unfinished> got = sw.TakeUnfinished(2);
        CheckSegments(packet, got);
        Assert.Equal((1ul, 0ul, (ulong)got.Count), (sw.Counters(2).SoftwareSegmented, sw.Counters(2).SoftwareChecksums, sw.Counters(2).TxPackets));
    }

    [Theory]
    [MemberData(nameof(ChecksumRows))]
    public void IsCompletedInSoftware(string description)
    {
        Unfinished packet = Packet(description);
        using TestSwitch sw = Three();
        sw.Send(1, packet);
        Unfinished got = Assert.Single(sw.TakeUnfinished(2));
        Assert.Equal(default, got.Vnet);
        byte[] expected = [.. packet.Frame];
        int field = packet.Vnet.csum_start + packet.Vnet.csum_offset;
        got.Frame.AsSpan(field, 2).CopyTo(expected.AsSpan(field));
        Assert.Equal(expected, got.Frame);
        Reference.Read(got.Frame);
        Assert.Equal((0ul, 1ul), (sw.Counters(2).SoftwareSegmented, sw.Counters(2).SoftwareChecksums));
    }

    /// <summary>Wherever the first buffer ends: right, or refused because the headers lie in two.</summary>
    [Theory]
    [InlineData(false, 1000)]
    [InlineData(true, 1000)]
    [InlineData(false, 0)]
    [InlineData(true, 0)]
    public void BuffersMayEndAnywhere(bool v6, int mss)
    {
        Unfinished packet = Inet.Tcp(4000, mss, v6, options: 12, tags: [10]);
        int headers = packet.Vnet.csum_start + 32, checksum = packet.Vnet.csum_start + 18;
        using TestSwitch sw = Three();
        sw.SetStatic(B, 2);
        for (int first = 0; first <= 300; first++)
        {
            sw.Send(1, packet, firstBuffer: first);
            List<Unfinished> got = sw.TakeUnfinished(2);
            if (first < (mss == 0 ? checksum : headers))
            {
                Assert.Empty(got);
            }
            else if (mss == 0)
            {
                Assert.Equal(Reference.Finished(packet).Payload, Reference.Read(Assert.Single(got).Frame).Payload);
            }
            else
            {
                CheckSegments(packet, got);
            }
        }
        Assert.Equal(14ul, sw.Drops(1, DropReason.Truncated));
        Assert.Equal((ulong)(mss == 0 ? checksum : headers) - 14, sw.Drops(2, DropReason.EgressBadOffload));
    }

    [Theory]
    [MemberData(nameof(SegmentRows))]
    public void AFloodedPacketIsCutForThoseThatNeedIt(string description)
    {
        Unfinished packet = Packet(description);
        using TestSwitch sw = Three().Port(4, change: Jumbo, depth: 2048).Port(5, change: Jumbo, takesOffloads: true);
        MacAddress.Parse(Broadcast).CopyTo(packet.Frame);
        sw.Send(1, packet);
        MacAddress.Parse(B).CopyTo(packet.Frame);
        foreach (int port in (int[])[2, 4])
        {
            List<Unfinished> got = sw.TakeUnfinished(port);
            got.ForEach(segment => MacAddress.Parse(B).CopyTo(segment.Frame));
            CheckSegments(packet, got);
        }
        foreach (int port in (int[])[3, 5])
        {
            Unfinished got = Assert.Single(sw.TakeUnfinished(port));
            MacAddress.Parse(B).CopyTo(got.Frame);
            Assert.Equal(packet.Frame, got.Frame);
            Assert.Equal(packet.Vnet, got.Vnet);
        }
    }

    [Theory]
    [MemberData(nameof(ChecksumRows))]
    public void AFloodedPacketIsCompletedForThoseThatNeedIt(string description)
    {
        Unfinished packet = Packet(description);
        // Whoever is served last may be the only holder, and writes in place: no order of ports may show.
        using TestSwitch sw = new TestSwitch().Port(1, takesOffloads: true)
            .Port(2, change: Jumbo).Port(3, change: Jumbo, takesOffloads: true).Port(4, change: Jumbo)
            .Port(5, change: Jumbo, takesOffloads: true).Port(6, change: Jumbo);
        byte[] finished = Reference.Finish(packet);
        sw.Send(1, packet);
        foreach (int port in (int[])[2, 4, 6])
        {
            Assert.Equal(finished, Assert.Single(sw.Take(port)));
        }
        foreach (int port in (int[])[3, 5])
        {
            Unfinished got = Assert.Single(sw.TakeUnfinished(port));
            Assert.Equal(packet.Frame, got.Frame);
            Assert.Equal(packet.Vnet, got.Vnet);
        }
    }

    [Fact]
    public void ABurstOfBothKindsKeepsItsOrder()
    {
        using TestSwitch sw = Three();
        List<byte[]> expected = [];
        for (int i = 0; i < 60; i++)
        {
            switch (i % 3)
            {
                case 0:
                    byte[] plain = Of(B, A, payload: 100 + i);
                    Add(new Unfinished(plain, default));
                    expected.Add(plain);
                    break;
                case 1:
                    Unfinished unsummed = Inet.Tcp(i);
                    Add(unsummed);
                    expected.Add(Reference.Finish(unsummed));
                    break;
                default:
                    Unfinished large = Inet.Tcp(700 + i, 100);
                    Add(large);
                    expected.AddRange(Reference.Cut(large));
                    break;
            }
        }
        sw.Poll();
        Assert.Equal(expected, sw.Take(2));

        void Add(Unfinished packet)
        {
            rte_mbuf* mbuf = MbufCopy.FromBytes(packet.Frame, sw.Engine.Small, sw.Engine.Large);
            Assert.True(Offload.Accept(mbuf, packet.Vnet));
            Assert.True(sw.TryInject(1, mbuf));
        }
    }

    [Theory]
    // MTU, payload, mss, TCP options, tag, segments that arrive
    [InlineData(1500, 5000, 1460, 0, false, 4)]
    [InlineData(1500, 5000, 1464, 0, false, 4)] // four bytes more: a frame may be as long as one with a tag, as in the kernel's bridge
    [InlineData(1500, 5000, 1465, 0, false, 0)]
    [InlineData(1500, 5000, 1448, 12, false, 4)]
    [InlineData(1500, 5000, 1460, 12, false, 0)]
    [InlineData(1500, 5000, 1460, 0, true, 4)]
    [InlineData(1500, 5000, 1461, 0, true, 0)]
    [InlineData(1280, 5000, 1460, 0, false, 0)]
    [InlineData(9000, 20_000, 8960, 0, false, 3)]
    [InlineData(1500, 1000, 60_000, 0, false, 1)] // one segment, smaller than its gso_size
    public void SegmentsMustFitTheMtu(int mtu, int payload, int mss, int options, bool tagged, int arrive)
    {
        using TestSwitch sw = new TestSwitch().Port(1, takesOffloads: true)
            .Port(2, change: record => record with { Mtu = (ushort)mtu })
            .Port(3, change: record => record with { Mtu = (ushort)mtu }, takesOffloads: true);
        sw.Send(1, Inet.Tcp(payload, mss, options: options, tags: tagged ? [10] : null));
        List<byte[]> got = sw.Take(2);
        Assert.Equal(arrive, got.Count);
        Assert.All(got, frame => Assert.InRange(frame.Length, 1, mtu + 18));
        Assert.Equal(arrive == 0 ? 0 : 1, sw.Drain(3));
        Assert.Equal(arrive == 0 ? "2 EgressMtu 1, 3 EgressMtu 1" : "", sw.Drops());
    }

    [Theory]
    // MTU, bytes behind the Ethernet header, tag, arrives
    [InlineData(1500, 1500, false, true)]
    [InlineData(1500, 1504, false, true)] // as above
    [InlineData(1500, 1505, false, false)]
    [InlineData(1500, 1500, true, true)]
    [InlineData(1500, 1501, true, false)]
    [InlineData(68, 68, true, true)]
    [InlineData(68, 69, true, false)]
    [InlineData(9000, 9000, true, true)]
    [InlineData(9000, 9001, true, false)]
    [InlineData(65535, 65535, true, true)]
    public void FramesMustFitTheMtu(int mtu, int payload, bool tagged, bool arrives)
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2, change: record => record with { Mtu = (ushort)mtu });
        byte[] frame = WithTags(Of(B, A, payload: payload), tagged ? [10] : []);
        sw.Send(1, frame);
        Assert.Equal(arrives ? [frame] : [], sw.Take(2));
        Assert.Equal(arrives ? "" : "2 EgressMtu 1", sw.Drops());
    }

    private static readonly virtio_net_hdr Tso = new() { flags = 1, gso_type = 1, gso_size = 500, hdr_len = 54, csum_start = 34, csum_offset = 16 };

    /// <summary>Requests that contradict themselves are refused where they come in.</summary>
    public static TheoryData<string, byte, byte, int, int, int> Refused => new()
    {
        // what                               flags  type  size   start  offset
        { "a checksum in the Ethernet header",    1,    0,     0,    13,     0 },
        { "a checksum in place of the source",    1,    0,     0,    14,    12 },
        { "a checksum in the last of IPv4",       1,    0,     0,    33,    16 },
        { "a checksum behind the end",            1,    0,     0,  1054,    16 },
        { "a checksum half behind the end",       1,    0,     0,  1036,    17 },
        { "the largest numbers",                  1,    0,     0, 65535, 65535 },
        { "segments without a checksum",          0,    1,   500,    34,    16 },
        { "segments without a size",              1,    1,     0,    34,    16 },
    };

    [Theory]
    [MemberData(nameof(Refused))]
    public void ARequestThatMakesNoSenseIsRefused(string what, byte flags, byte type, int size, int start, int offset)
    {
        using TestSwitch sw = Three();
        sw.Tap(4, out TapWire wire);
        Assert.True(wire.Send(Inet.Tcp(1000).Frame, new virtio_net_hdr
        {
            flags = flags, gso_type = type, gso_size = (ushort)size, csum_start = (ushort)start, csum_offset = (ushort)offset,
        }), what);
        sw.Poll();
        Assert.Equal("", sw.Outputs());
        Assert.Equal("4 BadOffload 1", sw.Drops());
    }

    /// <summary>Behind tags, and in what has no checksum.</summary>
    [Fact]
    public void AHeaderOfTheNetworkIsNotChangedByAChecksum()
    {
        using TestSwitch sw = Three();
        sw.Tap(4, out TapWire wire);
        byte[] arp = Of(B, A);
        (arp[12], arp[13]) = (8, 6);
        byte[] longHeader = Inet.Tcp(100).Frame;
        longHeader[14] = 0x4F;
        foreach ((byte[] frame, int start) in new[] { (Inet.Tcp(100, v6: true).Frame, 53), (Inet.Tcp(100, tags: [10]).Frame, 37), (longHeader, 73), (arp, 20) })
        {
            Assert.True(wire.Send(frame, new virtio_net_hdr { flags = 1, csum_start = (ushort)start, csum_offset = 0 }));
        }
        sw.Poll();
        Assert.Equal("", sw.Outputs());
        Assert.Equal("4 BadOffload 4", sw.Drops());
    }

    private sealed record Malformed(string Description, Func<Unfinished> Packet);

    private static readonly Malformed[] CannotBeCut =
    [
        new("no IP packet", () => new(Of(B, A, payload: 2000), Tso)),
        new("IPv4 type, IPv6 version", () => Changed(Inet.Tcp(2000, 500), 14, 0x65)),
        new("an IPv4 header of 16 bytes", () => Changed(Inet.Tcp(2000, 500), 14, 0x44)),
        new("an IPv4 header that ends before TCP's", () => Changed(Inet.Tcp(2000, 500, ipOptions: 8), 14, 0x45)),
        new("IPv4 that carries no TCP", () => Changed(Inet.Tcp(2000, 500), 23, 47)),
        new("IPv4 that carries no UDP", () => Changed(Inet.Udp(2000, 500), 23, 6)),
        new("IPv6 type, IPv4 version", () => Changed(Inet.Tcp(2000, 500, v6: true), 14, 0x40)),
        new("IPv6 that carries no TCP", () => Changed(Inet.Tcp(2000, 500, v6: true), 20, 17)),
        new("IPv6 without extension header that ends before TCP's", () => Changed(Inet.Tcp(2000, 500, v6: true, ipOptions: 8), 20, 6)),
        new("TCPv4 asked for, IPv6 sent", () => With(Inet.Tcp(2000, 500, v6: true), (ref virtio_net_hdr v) => v.gso_type = 1)),
        new("TCPv6 asked for, IPv4 sent", () => With(Inet.Tcp(2000, 500), (ref virtio_net_hdr v) => v.gso_type = 4)),
        new("TCP asked for, UDP's checksum named", () => With(Inet.Tcp(2000, 500), (ref virtio_net_hdr v) => v.csum_offset = 6)),
        new("UDP asked for, TCP's checksum named", () => With(Inet.Udp(2000, 500), (ref virtio_net_hdr v) => v.csum_offset = 16)),
        new("a TCP header of 16 bytes", () => Changed(Inet.Tcp(2000, 500), 14 + 20 + 12, 0x40)),
        new("a TCP header longer than the packet", () => Changed(Inet.Tcp(10, 5), 14 + 20 + 12, 0xF0)),
        new("a TCP header that is not all there", () =>
        {
            Unfinished packet = Inet.Tcp(10, 500);
            return packet with { Frame = packet.Frame[..(34 + 18)] };
        }),
        new("headers and nothing else", () => With(Inet.Tcp(0), (ref virtio_net_hdr v) => (v.gso_type, v.gso_size) = (1, 500))),
        new("more segments than there may be", () => Inet.Tcp(1025, 1)),
        new("UDP fragments", () => With(Inet.Udp(2000, 500), (ref virtio_net_hdr v) => v.gso_type = 3)),
        new("a type that nobody knows", () => With(Inet.Tcp(2000, 500), (ref virtio_net_hdr v) => v.gso_type = 99)),
        new("three tags", () => Inet.Tcp(2000, 500, tags: [10, 20, 30])),
        new("a checksum that begins in the options", () => With(Inet.Tcp(2000, 500, options: 40), (ref virtio_net_hdr v) => v.csum_start = 54)),
    ];

    public static TheoryData<string> CannotBeCutRows => [.. CannotBeCut.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(CannotBeCutRows))]
    public void WhatCannotBeCutIsDroppedForThePortThatNeedsIt(string description)
    {
        Unfinished packet = CannotBeCut.Single(row => row.Description == description).Packet();
        using TestSwitch sw = Three();
        sw.Send(1, packet);
        Assert.Empty(sw.Take(2));
        Assert.Equal("2 EgressBadOffload 1", sw.Drops());
        // The port that takes it gets it: the kernel behind it decides.
        Assert.Equal(packet.Frame, Assert.Single(sw.Take(3)));
    }

    [Fact]
    public void ATapPassesTheVnetHeaderOn()
    {
        using TestSwitch sw = new();
        sw.Tap(1, out TapWire a, change: Jumbo).Tap(2, out TapWire b, change: Jumbo);
        foreach ((string description, Unfinished packet) in Segments.Concat(Checksums))
        {
            Assert.True(a.Send(packet.Frame, packet.Vnet), description);
            sw.Poll();
            Unfinished got = Assert.Single(b.Take());
            Assert.Equal(packet.Frame, got.Frame);
            Assert.Equal(packet.Vnet, got.Vnet);
        }
        Assert.True(a.Send(Of(B, A)));
        sw.Poll();
        Assert.Equal(new Unfinished([], default).Vnet, Assert.Single(b.Take()).Vnet);
    }

    /// <summary>A second opinion from a program that knows these protocols well.</summary>
    [TsharkFact]
    public void TsharkFindsNoFault()
    {
        using TestSwitch sw = Three();
        List<byte[]> frames = [];
        foreach ((_, Unfinished packet) in Segments.Concat(Checksums))
        {
            sw.Send(1, packet);
            // A few of each: tshark is thorough, and not fast.
            List<byte[]> got = sw.Take(2);
            frames.AddRange(got[..Math.Min(3, got.Count)]);
            frames.Add(got[^1]);
            sw.Drain(3);
        }
        List<Tshark.Verdict> verdicts = Tshark.Check(frames);
        Assert.Equal(frames.Count, verdicts.Count);
        Assert.All(verdicts, verdict => Assert.Equal((true, true, false), (verdict.IpGood, verdict.TransportGood, verdict.Malformed)));

        // And it would see one.
        frames[0][^1] ^= 1;
        Assert.False(Tshark.Check(frames[..1])[0].TransportGood);
    }

    private static void CheckSegments(Unfinished packet, List<Unfinished> got)
    {
        Assert.All(got, segment => Assert.Equal(default, segment.Vnet));
        Assert.All(got, segment => Reference.Read(segment.Frame));
        Assert.Equal(Reference.Cut(packet), got.Select(segment => segment.Frame));
    }

    private static Unfinished Packet(string description)
    {
        Unfinished packet = Segments.Concat(Checksums).Single(row => row.Description == description).Packet;
        return packet with { Frame = [.. packet.Frame] };
    }

    private static TestSwitch Three() => new TestSwitch()
        .Port(1, takesOffloads: true).Port(2, change: Jumbo, depth: 2048).Port(3, change: Jumbo, takesOffloads: true);

    private static Memory.PortRecord Jumbo(Memory.PortRecord record) => record with { Mtu = 9000 };

    private delegate void Edit(ref virtio_net_hdr vnet);

    private static Unfinished With(Unfinished packet, Edit edit)
    {
        virtio_net_hdr vnet = packet.Vnet;
        edit(ref vnet);
        return packet with { Vnet = vnet };
    }

    private static Unfinished Changed(Unfinished packet, int at, byte value)
    {
        packet.Frame[at] = value;
        return packet;
    }

    /// <summary>Makes the two bytes of payload such that the sum of all is zero, whose other form is all ones (RFC 768).</summary>
    private static Unfinished WithSumZero(Unfinished packet)
    {
        packet.Frame.AsSpan(^2).Clear();
        byte[] finished = Reference.Finish(packet);
        int field = packet.Vnet.csum_start + packet.Vnet.csum_offset;
        finished.AsSpan(field, 2).CopyTo(packet.Frame.AsSpan(packet.Frame.Length - 2));
        return packet;
    }
}
