using System.Buffers.Binary;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;
using static Dataplane.PacketTests.Harness.Overlay;

namespace Dataplane.PacketTests;

/// <summary>Outer packets from another node: the frames that come out, and everything that can be wrong with the headers.</summary>
public sealed unsafe class VxlanDecapsulateTests
{
    private static readonly byte[] Frame = Reference.Finish(Inet.Udp(100));

    [Theory]
    [InlineData(false, 60)]
    [InlineData(false, 14)]
    [InlineData(false, 1514)]
    [InlineData(false, 9014)]
    [InlineData(true, 60)]
    [InlineData(true, 14)]
    [InlineData(true, 9014)]
    public void TheFrameEntersItsNetworkByTheTunnelsPort(bool v6, int length)
    {
        foreach (bool checksum in (bool[])[false, true])
        {
            using TestSwitch sw = Node(v6, zeroChecksum: !checksum, mtu: 9200);
            byte[] frame = Of(Broadcast, C, payload: length - 14);
            sw.Send(Underlay, From(frame, v6, checksum: checksum), From(frame, v6, checksum: checksum, sourcePort: 50000));
            Assert.Equal([frame, frame], sw.Take(1));
            Assert.Equal([frame, frame], sw.Take(2));
            Assert.Equal(FirstTunnel, sw.PortOf(C));
            PortCounters underlay = sw.Counters(Underlay), tunnel = sw.Counters(FirstTunnel);
            Assert.Equal((2ul, 2ul), (underlay.RxPackets, underlay.Consumed));
            Assert.Equal((2ul, 2ul * (ulong)length, 2ul), (tunnel.RxPackets, tunnel.RxBytes, tunnel.Forwarded));
            Assert.Equal("", sw.Drops());
        }
    }

    /// <param name="Description">What is wrong, or only looks so.</param>
    /// <param name="Packet">The outer packet, over IPv4 or IPv6.</param>
    /// <param name="Reason">Why it is dropped; Count when the frame comes out.</param>
    /// <param name="Only">4 or 6 when there is no such thing in the other version.</param>
    private sealed record Row(string Description, Func<bool, byte[]> Packet, DropReason Reason, int Only = 0);

    private static readonly Row[] Table =
    [
        new("nothing", v6 => Outer(v6), DropReason.Count),
        new("a right checksum", v6 => From(Frame, v6, checksum: true), DropReason.Count),
        new("a wrong checksum", v6 => Changed(From(Frame, v6, checksum: true), 150, 1), DropReason.VxlanChecksum),
        new("a wrong checksum field", v6 => Changed(From(Frame, v6, checksum: true), Udp(v6) + 6, 1), DropReason.VxlanChecksum),
        new("no checksum", v6 => From(Frame, v6), DropReason.VxlanChecksum, Only: 6),
        new("another network", v6 => From(Frame, v6, vni: Vni + 1, checksum: v6), DropReason.VxlanVni),
        new("network 0", v6 => From(Frame, v6, vni: 0, checksum: v6), DropReason.VxlanVni),
        new("a node that is none", v6 => From(Frame, v6, node: 77, checksum: v6), DropReason.VxlanVtep),
        new("no flag", v6 => Field(v6, 8, 0), DropReason.VxlanFlags),
        new("all flags but the one", v6 => Field(v6, 8, 0xF7), DropReason.VxlanFlags),
        new("all flags", v6 => Field(v6, 8, 0xFF), DropReason.Count),
        new("reserved bits behind the flags", v6 => Field(v6, 10, 0xFF), DropReason.Count),
        new("reserved bits behind the VNI", v6 => Field(v6, 15, 0xFF), DropReason.Count),
        new("a frame of 13 bytes", v6 => From(Frame[..13], v6, checksum: v6), DropReason.VxlanTruncated),
        new("no frame", v6 => From([], v6, checksum: v6), DropReason.VxlanTruncated),
        new("a UDP length that ends in the frame's header", v6 => Length(v6, 16 + 13), DropReason.VxlanTruncated),
        new("a UDP length that ends in the VXLAN header", v6 => Length(v6, 15), DropReason.VxlanTruncated),
        new("a UDP length of 0", v6 => Length(v6, 0), DropReason.VxlanTruncated),
        new("a UDP length of 65535", v6 => Length(v6, 65535), DropReason.VxlanTruncated),
        new("a UDP length one larger than the packet", v6 => Length(v6, 16 + Frame.Length + 1), DropReason.VxlanTruncated),
        new("bytes behind the end of the packet", v6 => [.. Outer(v6), 1, 2, 3], DropReason.Count),
        new("the first fragment", v6 => Fragment(v6, 0x2000), DropReason.VxlanFragment),
        new("options in the IP header", v6 => Options(v6), DropReason.Count),
    ];

    public static TheoryData<string, bool> Rows
    {
        get
        {
            var rows = new TheoryData<string, bool>();
            foreach (Row row in Table)
            {
                if (row.Only != 6)
                {
                    rows.Add(row.Description, false);
                }
                if (row.Only != 4)
                {
                    rows.Add(row.Description, true);
                }
            }
            return rows;
        }
    }

    /// <summary>Alone, behind a good packet (whose tunnel the switch remembers), in two buffers, and held by somebody else, too.</summary>
    [Theory]
    [MemberData(nameof(Rows))]
    public void WhatIsWrongHasItsReason(string description, bool v6)
    {
        Row row = Table.Single(r => r.Description == description);
        byte[] packet = row.Packet(v6);
        foreach (int way in Enumerable.Range(0, 5))
        {
            using TestSwitch sw = Node(v6);
            List<byte[]> expected = [];
            rte_mbuf* held = null;
            if (way == 1)
            {
                sw.Send(Underlay, Outer(v6));
                expected.Add(Frame);
            }
            if (way is 2 or 3)
            {
                // A small buffer for the headers as we make them ourselves; one that ends in them.
                sw.Inject(Underlay, packet, firstBuffer: way == 2 ? (v6 ? 70 : 50) : 44);
            }
            else
            {
                rte_mbuf* mbuf = MbufCopy.FromBytes(packet, sw.Engine.Small, sw.Engine.Large);
                if (way == 4)
                {
                    Shim.dps_mbuf_ref(held = mbuf, 1);
                }
                Assert.True(sw.TryInject(Underlay, mbuf));
            }
            sw.Poll();
            if (row.Reason == DropReason.Count)
            {
                expected.Add(Frame);
            }
            Assert.Equal(expected, sw.Take(1));
            // A header in two buffers is refused by the router already, over IPv6 even as fragment.
            if (way != 3)
            {
                Assert.Equal(row.Reason == DropReason.Count ? "" : $"{Underlay} {row.Reason} 1", sw.Drops());
            }
            if (held != null)
            {
                Assert.Equal(packet, MbufCopy.ToBytes(held));
                Shim.dps_mbuf_free(held);
            }
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void APeerHasToSendToTheAddressThatItsTunnelIsFrom(bool v6)
    {
        using TestSwitch sw = Node(v6);
        sw.Tunnel(FirstTunnel, Record(v6, 1) with { Local = Number(Vtep(v6, 200)) });
        sw.Send(Underlay, Outer(v6));
        Assert.Equal($"{Underlay} VxlanVtep 1", sw.Drops());
    }

    [Fact]
    public void FramesOfTwoPeersInOneBurstEnterByTwoPorts()
    {
        using TestSwitch sw = Node(others: 2);
        byte[] c = Of(Broadcast, C), d = Of(Broadcast, D);
        sw.Send(Underlay, From(c), From(d, node: 2), From(c), From(c), From(d, node: 2));
        Assert.Equal((FirstTunnel, FirstTunnel + 1), (sw.PortOf(C), sw.PortOf(D)));
        Assert.Equal((3ul, 2ul), (sw.Counters(FirstTunnel).RxPackets, sw.Counters(FirstTunnel + 1).RxPackets));
        Assert.Equal(5, sw.Take(1).Count);
    }

    [Fact]
    public void TunnelsOverBothVersionsLiveSideBySide()
    {
        using TestSwitch sw = Node();
        sw.Tunnel(FirstTunnel + 1, Record(v6: true, 1, zeroChecksum: true));
        byte[] c = Of(Broadcast, C), d = Of(Broadcast, D);
        sw.Send(Underlay, From(c), From(d, v6: true), From(d, v6: true), From(c), From(d, v6: true));
        Assert.Equal((2ul, 3ul), (sw.Counters(FirstTunnel).RxPackets, sw.Counters(FirstTunnel + 1).RxPackets));
        Assert.Equal(5, sw.Take(1).Count);
    }

    [Fact]
    public void AChangedTunnelIsWhatItIsNowAndNotWhatItWas()
    {
        using TestSwitch sw = Node();
        byte[] frame = Of(Broadcast, C);
        sw.Send(Underlay, From(frame));
        sw.Tunnel(FirstTunnel, Record(false, 2));
        sw.Send(Underlay, From(frame), From(frame, node: 2));
        Assert.Equal($"{Underlay} VxlanVtep 1", sw.Drops());
        sw.Tunnel(FirstTunnel, default);
        sw.Send(Underlay, From(frame, node: 2));
        Assert.Equal(2ul, sw.Counters(FirstTunnel).RxPackets);
        Assert.Equal(2, sw.Take(1).Count);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AChecksumThatALocalSenderLeftPendingIsRight(bool v6)
    {
        // A kernel behind a TAP leaves it to the hardware, and there is none.
        using TestSwitch sw = Node(v6);
        byte[] outer = From(Frame, v6, checksum: true);
        outer[Udp(v6) + 6] ^= 0x55;
        sw.Send(Underlay, new Unfinished(outer, new virtio_net_hdr { flags = 1, csum_start = (ushort)Udp(v6), csum_offset = 6 }));
        Assert.Equal([Frame], sw.Take(1));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void AnInnerChecksumLeftPendingIsCompletedInTime(bool v6, bool outerChecksum)
    {
        using TestSwitch sw = Node(v6);
        Unfinished packet = Inet.Tcp(100, destination: Broadcast);
        byte[] outer = From(packet.Frame, v6);
        if (outerChecksum)
        {
            // As it is when the inner one is complete.
            byte[] right = From(Reference.Finish(packet), v6, checksum: true);
            right.AsSpan(Udp(v6) + 6, 2).CopyTo(outer.AsSpan(Udp(v6) + 6));
        }
        ushort start = (ushort)(packet.Vnet.csum_start + (v6 ? 70 : 50));
        sw.Send(Underlay, new Unfinished(outer, packet.Vnet with { csum_start = start }));
        Assert.Equal([Reference.Finish(packet)], sw.Take(1));
    }

    [Fact]
    public void ALargeInnerSegmentStaysOneUntilItsPortWantsSeveral()
    {
        using TestSwitch sw = Node(takesOffloads: true);
        Unfinished packet = Inet.Tcp(8000, 1000, destination: Broadcast);
        byte[] outer = From(packet.Frame);
        sw.Send(Underlay, new Unfinished(outer, packet.Vnet with { csum_start = (ushort)(packet.Vnet.csum_start + 50), hdr_len = (ushort)(packet.Vnet.hdr_len + 50) }));
        Unfinished whole = Assert.Single(sw.TakeUnfinished(1));
        Assert.Equal(packet.Frame, whole.Frame);
        Assert.Equal(packet.Vnet, whole.Vnet);
        Assert.Equal(Reference.Cut(packet), sw.Take(2));
    }

    [Fact]
    public void ManyFramesAtOnceAreNoMoreThanTheBridgeCanTake()
    {
        using TestSwitch sw = Node();
        byte[] frame = Of(Broadcast, C);
        sw.Send(Underlay, [.. Enumerable.Repeat(From(frame), 1000)]);
        Assert.Equal(1000, sw.Take(1).Count);
        Assert.Equal("", sw.Drops());
    }

    private static byte[] Outer(bool v6) => From(Frame, v6, checksum: v6);

    private static int Udp(bool v6) => v6 ? 54 : 34;

    private static byte[] Changed(byte[] packet, int at, byte by)
    {
        packet[at] ^= by;
        return packet;
    }

    /// <summary>A packet with one byte of UDP or VXLAN header changed, its checksum right.</summary>
    private static byte[] Field(bool v6, int at, byte value)
    {
        byte[] packet = Outer(v6);
        byte before = packet[Udp(v6) + at];
        packet[Udp(v6) + at] = value;
        return v6 ? Recalculate(packet, at, before, value) : packet;
    }

    private static byte[] Length(bool v6, int length)
    {
        byte[] packet = Outer(v6);
        BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(Udp(v6) + 4), (ushort)length);
        return packet;
    }

    /// <summary>RFC 1624.</summary>
    private static byte[] Recalculate(byte[] packet, int at, byte before, byte after)
    {
        Span<byte> field = packet.AsSpan(Udp(true) + 6);
        int shift = at % 2 == 0 ? 8 : 0;
        uint sum = (ushort)~BinaryPrimitives.ReadUInt16BigEndian(field);
        sum += (ushort)~(before << shift) + ((uint)after << shift);
        sum = (sum & 0xFFFF) + (sum >> 16);
        sum = (sum & 0xFFFF) + (sum >> 16);
        BinaryPrimitives.WriteUInt16BigEndian(field, (ushort)~sum);
        return packet;
    }

    private static byte[] Fragment(bool v6, ushort flagsAndOffset)
    {
        byte[] packet = Outer(v6);
        if (!v6)
        {
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(20), flagsAndOffset);
            packet.AsSpan(24, 2).Clear();
            BinaryPrimitives.WriteUInt16BigEndian(packet.AsSpan(24), Reference.Checksum(packet.AsSpan(14, 20)));
            return packet;
        }
        // The offset is in the upper 13 bits there, "more" is the lowest.
        ushort word = (ushort)(((flagsAndOffset & 0x1FFF) << 3) | (flagsAndOffset >> 13));
        return Extended(packet, 44, [17, 0, (byte)(word >> 8), (byte)word, 0, 0, 0, 1]);
    }

    private static byte[] Options(bool v6)
    {
        byte[] packet = Outer(v6);
        if (v6)
        {
            return Extended(packet, 60, [17, 0, 1, 4, 0, 0, 0, 0]);
        }
        packet[14] = 0x46;
        byte[] longer = [.. packet[..34], 1, 1, 1, 1, .. packet[34..]];
        BinaryPrimitives.WriteUInt16BigEndian(longer.AsSpan(16), (ushort)(longer.Length - 14));
        longer.AsSpan(24, 2).Clear();
        BinaryPrimitives.WriteUInt16BigEndian(longer.AsSpan(24), Reference.Checksum(longer.AsSpan(14, 24)));
        return longer;
    }

    private static byte[] Extended(byte[] packet, byte kind, byte[] header)
    {
        packet[20] = kind;
        byte[] longer = [.. packet[..54], .. header, .. packet[54..]];
        BinaryPrimitives.WriteUInt16BigEndian(longer.AsSpan(18), (ushort)(longer.Length - 54));
        return longer;
    }
}
