using System.Buffers.Binary;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;
using static Dataplane.PacketTests.Harness.Overlay;

namespace Dataplane.PacketTests;

/// <summary>Frames into a tunnel: every byte of the outer packet, over IPv4 and IPv6.</summary>
public sealed unsafe class VxlanEncapsulateTests
{
    private const string Arp = "ffffffffffff02000000000a0806000108000604000102000000000aac120002000000000000ac120003";

    /// <summary>What containers send, by name.</summary>
    private static readonly Dictionary<string, byte[]> Frames = new()
    {
        ["an ARP request"] = Convert.FromHexString(Arp),
        ["UDP over IPv4"] = Reference.Finish(Inet.Udp(100)),
        ["TCP over IPv4 with options"] = Reference.Finish(Inet.Tcp(333, options: 12, ipOptions: 8)),
        ["TCP over IPv6"] = Reference.Finish(Inet.Tcp(1000, v6: true)),
        ["UDP over IPv6 behind an extension header"] = Reference.Finish(Inet.Udp(10, v6: true, ipOptions: 8)),
        ["UDP in a VLAN"] = Reference.Finish(Inet.Udp(64, tags: [10])),
        ["UDP in two VLANs"] = Reference.Finish(Inet.Udp(64, v6: true, tags: [ServiceTag(5), 10])),
        ["neither IP nor ARP"] = Of(B, A),
        ["an Ethernet header and nothing else"] = Of(B, A, payload: 0),
        ["an IPv4 header that ends early"] = Reference.Finish(Inet.Udp(0))[..33],
        ["an IPv6 header that ends early"] = Reference.Finish(Inet.Udp(0, v6: true))[..53],
        ["a tag that ends early"] = Tagged(B, A, 10)[..15],
        ["a type that the version contradicts"] = Raw(B, A, Wire.EtherTypeIPv4, [0x65, .. new byte[40]]),
        ["a header length of 0"] = Raw(B, A, Wire.EtherTypeIPv4, [0x40, .. new byte[40]]),
        ["a header length past the end"] = Raw(B, A, Wire.EtherTypeIPv4, [0x4F, 0, 0, 40, 0, 0, 0, 0, 64, 17, .. new byte[20]]),
    };

    public static TheoryData<string, bool, bool> Rows
    {
        get
        {
            var rows = new TheoryData<string, bool, bool>();
            foreach (string name in Frames.Keys)
            {
                rows.Add(name, false, false);
                rows.Add(name, true, false);
                rows.Add(name, true, true);
            }
            return rows;
        }
    }

    [Theory]
    [MemberData(nameof(Rows))]
    public void AFrameGetsItsOuterHeaders(string name, bool v6, bool zeroChecksum)
    {
        using TestSwitch sw = Node(v6, zeroChecksum: zeroChecksum);
        byte[] frame = [.. Frames[name]];
        // Flooded, and so in a buffer that port 2 gets, too; then known to be behind the tunnel.
        foreach (ulong round in (ulong[])[1, 2])
        {
            sw.Send(1, frame);
            byte[] came = Assert.Single(sw.Take(Underlay));
            Assert.Equal(Expected(frame, came, v6, checksum: v6 && !zeroChecksum), came);
            Assert.InRange(SourcePort(came, v6), 49152, 65535);
            PortCounters tunnel = sw.Counters(FirstTunnel), underlay = sw.Counters(Underlay);
            Assert.Equal((round, round, round * (ulong)frame.Length), (tunnel.Offered, tunnel.TxPackets, tunnel.TxBytes));
            Assert.Equal((round, round, round * (ulong)came.Length), (underlay.Originated, underlay.TxPackets, underlay.TxBytes));
            Assert.Equal(round == 1 ? [frame] : [], sw.Take(2));
            sw.SetStatic(new MacAddress(BitConverter.ToUInt64(frame) & MacAddress.Mask & ~1ul).ToString(), FirstTunnel);
            frame[0] &= 0xFE;
        }
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void AFlowHasOneSourcePortAndDifferentFlowsHaveMany(bool v6, bool innerV6)
    {
        using TestSwitch sw = Node(v6);
        var ports = new HashSet<int>();
        for (int flow = 0; flow < 256; flow++)
        {
            byte[] frame = Inet.Udp(20, v6: innerV6).Frame;
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(innerV6 ? 54 : 34), (ushort)(10000 + flow));
            byte[] longer = [.. frame, 1, 2, 3];
            sw.Send(1, frame, longer);
            List<byte[]> came = sw.Take(Underlay);
            Assert.Equal(SourcePort(came[0], v6), SourcePort(came[1], v6));
            Assert.Equal(FlowLabel(came[0], v6), FlowLabel(came[1], v6));
            ports.Add(SourcePort(came[0], v6));
        }
        // 256 of 16,384 ports: two flows share one now and then.
        Assert.True(ports.Count > 240, $"{ports.Count} ports for 256 flows");
    }

    [Fact]
    public void FragmentsOfADatagramGoOneWay()
    {
        using TestSwitch sw = Node();
        byte[] first = Inet.Udp(64).Frame, second = Inet.Udp(64).Frame;
        first[20] = 0x20;  // more fragments
        second[21] = 100;  // offset
        second[34] ^= 0xFF; // payload where the first one has its port
        sw.Send(1, first, second);
        List<byte[]> came = sw.Take(Underlay);
        Assert.Equal(SourcePort(came[0], false), SourcePort(came[1], false));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFloodedFrameGoesToEveryNodeAndStaysWhatItIs(bool v6)
    {
        using TestSwitch sw = Node(v6, others: 3, zeroChecksum: true);
        sw.Port(3);
        byte[] frame = Frames["an ARP request"];
        sw.Send(1, frame);
        List<byte[]> came = sw.Take(Underlay);
        Assert.Equal([.. came.Select((outer, i) => Expected(frame, outer, v6, node: i + 1))], came);
        Assert.Equal(3, came.Count);
        Assert.Equal(frame, Assert.Single(sw.Take(2)));
        Assert.Equal(frame, Assert.Single(sw.Take(3)));
    }

    [Fact]
    public void ADeviceWithoutChainsGetsOneBuffer()
    {
        using TestSwitch sw = Node(others: 2);
        sw.Writer.Begin();
        sw.Writer.SetPort(12, new PortRecord { Flags = PortFlags.Default | PortFlags.Routed, Mtu = Mtu });
        sw.Writer.Commit();
        sw.Deviceless(12, PortFlags.Default | PortFlags.Routed, record => record with { Bridge = 0, Mtu = Mtu });
        string name = DpdkPorts.Unique("net_ring");
        sw.Engine.Attach(DpdkPorts.Make(sw, 12, $"dpdk:{name}"));
        sw.RouteBy(Adjacency(12));
        byte[] frame = Frames["an ARP request"];
        sw.Send(1, frame);
        // What a ring device sends it receives: the packets are back, and for nobody here.
        sw.Poll();
        PortCounters counters = sw.Counters(12);
        Assert.Equal((2ul, 2ul * ((ulong)frame.Length + 50)), (counters.TxPackets, counters.TxBytes));
        sw.Engine.Detach(12);
    }

    [Theory]
    [InlineData(49)]
    [InlineData(50)]
    public void AFrameWithoutRoomInFrontGetsABufferForTheHeaders(int headroom)
    {
        using TestSwitch sw = Node();
        sw.SetStatic(B, FirstTunnel);
        byte[] frame = Of(B, A, payload: 300);
        rte_mbuf* mbuf = MbufCopy.FromBytes(frame, sw.Engine.Small, sw.Engine.Large);
        int shift = Mbuf.Headroom(mbuf) - headroom;
        frame.CopyTo(new Span<byte>(Mbuf.Prepend(mbuf, shift), frame.Length));
        Mbuf.Trim(mbuf, shift);
        Assert.True(sw.TryInject(1, mbuf));
        sw.Poll();
        rte_mbuf* came = sw.TakeMbuf(Underlay);
        Assert.Equal(headroom < 50 ? 2 : 1, came->nb_segs);
        byte[] bytes = MbufCopy.ToBytes(came);
        Assert.Equal(Expected(frame, bytes), bytes);
        Shim.dps_mbuf_free(came);
    }

    [Theory]
    [InlineData(false, 10)]
    [InlineData(false, 777)]
    [InlineData(true, 14)]
    [InlineData(true, 777)]
    public void AFrameInSeveralBuffersIsOnePacket(bool v6, int firstBuffer)
    {
        using TestSwitch sw = Node(v6);
        byte[] frame = Of(B, A, payload: 1500);
        // A header in two buffers is refused by the bridge already.
        sw.Inject(1, frame, firstBuffer);
        sw.Poll();
        if (firstBuffer < 14)
        {
            Assert.Equal("1 Truncated 1", sw.Drops());
            return;
        }
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(frame, came, v6, checksum: v6), came);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void TheUnderlaysMtuCountsTheHeaders(bool v6)
    {
        // An IPv4 packet of the underlay's MTU has 36 bytes in front of the inner frame, and that an Ethernet header.
        int fits = Mtu - (v6 ? 56 : 36);
        using TestSwitch sw = Node(v6);
        sw.Send(1, Of(B, A, payload: fits - 14));
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Mtu + 14, came.Length);
        sw.Send(1, Of(B, A, payload: fits - 13));
        Assert.Empty(sw.Take(Underlay));
        Assert.Equal($"{FirstTunnel} EgressTunnelMtu 1", sw.Drops());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AChecksumLeftToTheHardwareIsCompletedInside(bool v6)
    {
        using TestSwitch sw = Node(v6, takesOffloads: true);
        Unfinished packet = Inet.Tcp(500);
        sw.Send(1, packet);
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Reference.Finish(packet), came, v6, checksum: v6), came);
        Assert.Equal(1ul, sw.Counters(FirstTunnel).SoftwareChecksums);
    }

    [Theory]
    [InlineData(false, false, 1000)]
    [InlineData(true, true, 1000)]
    [InlineData(false, true, 1448)] // more than fits an MTU of 1,450: the segments become smaller
    [InlineData(true, false, 9000)]
    public void ALargeSegmentIsCutToWhatFits(bool v6, bool innerV6, int mss)
    {
        using TestSwitch sw = Node(v6, takesOffloads: true, mtu: 1500);
        Unfinished packet = Inet.Tcp(40_000, mss, v6: innerV6, options: 12);
        sw.Send(1, packet);
        int fits = 1500 - (v6 ? 56 : 36) - (innerV6 ? 86 : 66);
        List<byte[]> expected = Reference.Cut(packet with { Vnet = packet.Vnet with { gso_size = (ushort)Math.Min(mss, fits) } });
        List<byte[]> came = sw.Take(Underlay);
        Assert.Equal(expected.Count, came.Count);
        Assert.Equal([.. expected.Zip(came, (inner, outer) => Expected(inner, outer, v6, checksum: v6))], came);
        Assert.Single(came.Select(outer => SourcePort(outer, v6)).Distinct());
        Assert.Equal((1ul, (ulong)came.Count - 1), (sw.Counters(FirstTunnel).SoftwareSegmented, sw.Counters(FirstTunnel).Copies));
    }

    [Fact]
    public void DatagramsLeftToTheHardwareAreCutWhereTheSenderSaid()
    {
        using TestSwitch sw = Node(takesOffloads: true, mtu: 1500);
        Unfinished packet = Inet.Udp(30_000, 1422); // 1500 - 36 - 14 - 28
        sw.Send(1, packet);
        List<byte[]> came = sw.Take(Underlay);
        Assert.Equal([.. Reference.Cut(packet).Zip(came, (inner, outer) => Expected(inner, outer))], came);
        sw.Send(1, Inet.Udp(30_000, 1423));
        Assert.Empty(sw.Take(Underlay));
        Assert.Equal($"{FirstTunnel} EgressTunnelMtu 1", sw.Drops());
    }

    [Fact]
    public void ALargeSegmentToLocalPortsAndTunnelsIsEachOnesOwn()
    {
        using TestSwitch sw = Node(others: 2, takesOffloads: true, mtu: 1500);
        sw.Port(3, takesOffloads: true);
        Unfinished packet = Inet.Tcp(20_000, 1448, destination: Broadcast);
        sw.Send(1, packet);
        Assert.Equal(packet, Assert.Single(sw.TakeUnfinished(3)), (a, b) => a!.Frame.AsSpan().SequenceEqual(b!.Frame) && a.Vnet.Equals(b.Vnet));
        Assert.Equal(Reference.Cut(packet), sw.Take(2));
        Unfinished smaller = packet with { Vnet = packet.Vnet with { gso_size = 1500 - 36 - 54 } };
        List<byte[]> inner = Reference.Cut(smaller), came = sw.Take(Underlay);
        Assert.Equal([.. came.Select((outer, i) => Expected(inner[i % inner.Count], outer, node: 1 + (i / inner.Count)))], came);
        Assert.Equal(2 * inner.Count, came.Count);
    }

    [Fact]
    public void ABurstLongerThanATransmitBufferArrivesInOrder()
    {
        using TestSwitch sw = Node();
        sw.SetStatic(B, FirstTunnel);
        byte[][] frames = [.. Enumerable.Range(0, 500).Select(i => Of(B, A, payload: 46 + i))];
        sw.Send(1, frames);
        Assert.Equal(frames, sw.Take(Underlay).Select(outer => Inner(outer)));
    }

    [Fact]
    public void FlowsAreSpreadOverSeveralNextHopsAndEachKeepsItsOwn()
    {
        using TestSwitch sw = Node(mtu: 1500);
        sw.AddUnderlay(10, mtu: 1400);
        var group = new NextHopGroup();
        for (int i = 0; i < NextHopGroup.Buckets; i++)
        {
            group.Members[i] = 10u + ((uint)i % 3);
        }
        sw.Writer.Begin();
        sw.Writer.SetNextHop(10, Adjacency(Underlay));
        sw.Writer.SetNextHop(11, Adjacency(10));
        sw.Writer.SetNextHop(12, new NextHopRecord { Kind = NextHopKind.Blackhole });
        sw.Writer.SetNextHopGroup(3, group);
        sw.Writer.Commit();
        sw.RouteBy(new NextHopRecord { Kind = NextHopKind.Group, Group = 3 });

        int[] ways = new int[3];
        for (int flow = 0; flow < 300; flow++)
        {
            byte[] frame = Inet.Udp(20).Frame;
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(34), (ushort)(10000 + flow));
            sw.Send(1, frame, frame, frame);
            int[] came = [sw.Take(Underlay).Count, sw.Take(10).Count];
            Assert.Contains(came.Sum(), (int[])[0, 3]);
            Assert.DoesNotContain(came, n => n is not (0 or 3));
            ways[came[0] == 3 ? 0 : came[1] == 3 ? 1 : 2]++;
        }
        Assert.All(ways, n => Assert.InRange(n, 50, 150));
        Assert.Equal($"{FirstTunnel} EgressNoTunnelRoute {ways[2] * 3}", sw.Drops());
    }

    [Fact]
    public void AFlowThatIsTooLargeForItsOwnNextHopIsDroppedAlone()
    {
        using TestSwitch sw = Node(mtu: 1500);
        sw.AddUnderlay(10, mtu: 1400);
        var group = new NextHopGroup();
        for (int i = 0; i < NextHopGroup.Buckets; i++)
        {
            group.Members[i] = 10u + ((uint)i % 2);
        }
        sw.Writer.Begin();
        sw.Writer.SetNextHop(10, Adjacency(Underlay));
        sw.Writer.SetNextHop(11, Adjacency(10));
        sw.Writer.SetNextHopGroup(3, group);
        sw.Writer.Commit();
        sw.RouteBy(new NextHopRecord { Kind = NextHopKind.Group, Group = 3 });
        byte[][] frames = [.. Enumerable.Range(0, 64).Select(flow =>
        {
            byte[] frame = Inet.Udp(1400 - 28).Frame; // fits 1,500 and not 1,400
            BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(34), (ushort)(20000 + flow));
            return frame;
        })];
        sw.Send(1, frames);
        int came = sw.Take(Underlay).Count;
        Assert.InRange(came, 10, 54);
        Assert.Equal($"{FirstTunnel} EgressTunnelMtu {64 - came}", sw.Drops());
    }

    [TsharkFact]
    public void TsharkDecodesEveryOuterPacketWithoutComplaint()
    {
        var outer = new List<byte[]>();
        foreach (bool v6 in (bool[])[false, true])
        {
            using TestSwitch sw = Node(v6, takesOffloads: true);
            sw.Send(1, Frames["an ARP request"], Frames["UDP over IPv4"], Frames["TCP over IPv6"], Frames["UDP in two VLANs"], Of(B, A));
            sw.Send(1, Inet.Tcp(700));
            sw.Send(1, Inet.Tcp(30_000, 1000, v6: true));
            outer.AddRange(sw.Take(Underlay));
        }
        Assert.Equal(2 * 36, outer.Count);
        Tshark.AssertVxlan(outer, Vni);
    }
}
