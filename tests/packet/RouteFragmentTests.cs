using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>IPv4 packets that are larger than the next hop's MTU: cut, put together again here, and compared (RFC 791, 3.2).</summary>
public sealed class RouteFragmentTests
{
    private const string A4 = "10.0.1.2", B4 = "10.0.2.2";

    /// <summary>MTU of the way out, payload of the datagram.</summary>
    public static TheoryData<int, int> Sizes => new()
    {
        { 1500, 1473 }, { 1500, 1480 }, { 1500, 1481 }, { 1500, 2952 }, { 1500, 2953 }, { 1500, 8000 }, { 1500, 65_507 },
        { 1499, 1473 }, { 1492, 1473 }, { 1280, 9000 }, { 576, 1400 }, { 68, 41 }, { 68, 1000 }, { 69, 1000 }, { 75, 1000 }, { 9000, 60_000 },
    };

    [Theory]
    [MemberData(nameof(Sizes))]
    public void TheWholeIsWhatItWas(int mtu, int payload)
    {
        using RouteLab lab = Lab(mtu);
        Ip packet = Ip.OfUdp(A4, B4, 1, 2, payload);
        lab.Send(1, packet);
        List<Ip> fragments = [.. lab.Take(2).Select(Ip.Of)];
        Assert.True(fragments.Count > 1);
        Assert.All(fragments, fragment => Assert.InRange(fragment.ToBytes().Length, 21, mtu));
        // No more of them than must be.
        Assert.Equal((packet.Payload.Length + ((mtu - 20) & ~7) - 1) / ((mtu - 20) & ~7), fragments.Count);
        Assert.Equal(packet with { Ttl = 63 }, Reassemble(fragments));
        Assert.Equal((1ul, (ulong)fragments.Count - 1), (lab.Switch.Counters(1).Forwarded, lab.Switch.Counters(1).Copies));
        Assert.Equal("", lab.Switch.Drops());
    }

    [Fact]
    public void FragmentsOfAFragmentBelongToTheSameWhole()
    {
        using RouteLab lab = Lab(576);
        Ip whole = Ip.OfUdp(A4, B4, 1, 2, 4000);
        Ip first = whole with { Payload = whole.Payload[..1480], Fragment = 0x2000 };
        Ip second = whole with { Payload = whole.Payload[1480..2960], Fragment = 0x2000 | (1480 / 8) };
        Ip last = whole with { Payload = whole.Payload[2960..], Fragment = 2960 / 8 };
        lab.Send(1, last, first, second);
        Assert.Equal(whole with { Ttl = 63 }, Reassemble([.. lab.Take(2).Select(Ip.Of)]));
    }

    /// <summary>Options go with the first fragment, and with the others those that say so (RFC 791, 3.1).</summary>
    [Fact]
    public void OptionsGoWhereTheyBelong()
    {
        using RouteLab lab = Lab(576);
        byte[] copied = [0x94, 4, 1, 2], routeRecorded = [7, 7, 4, 0, 0, 0, 0];
        Ip packet = Ip.OfUdp(A4, B4, 1, 2, 1200) with { Options = [1, .. routeRecorded, .. copied, 0, 0, 0, 0] };
        lab.Send(1, packet);
        List<Ip> fragments = [.. lab.Take(2).Select(Ip.Of)];
        Assert.Equal(packet.Options, fragments[0].Options);
        Assert.All(fragments.Skip(1), fragment => Assert.Equal(copied, fragment.Options));
        Assert.Equal(packet.Payload, Reassemble([.. fragments.Select(fragment => fragment with { Options = [] })]).Payload);
    }

    [Theory]
    [InlineData("length 0", new byte[] { 0x94, 0, 0, 0 })]
    [InlineData("length beyond the header", new byte[] { 0x94, 40, 0, 0 })]
    [InlineData("no length", new byte[] { 1, 1, 1, 0x94 })]
    public void OptionsThatMakeNoSenseStayWithTheFirst(string what, byte[] options)
    {
        Assert.NotEmpty(what);
        using RouteLab lab = Lab(576);
        lab.Send(1, Ip.OfUdp(A4, B4, 1, 2, 1000) with { Options = options });
        List<Ip> fragments = [.. lab.Take(2).Select(Ip.Of)];
        Assert.Equal(options, fragments[0].Options);
        Assert.All(fragments.Skip(1), fragment => Assert.Empty(fragment.Options));
    }

    /// <summary>A checksum that the sender left to be completed is completed before the packet is cut.</summary>
    [Fact]
    public void APendingChecksumIsCompleted()
    {
        using RouteLab lab = Kernel(576);
        Unfinished packet = MayFragment(Inet.Udp(1200, destination: MacOf(1), source: PeerMac(1)));
        lab.Switch.Send(1, packet);
        Ip whole = Reassemble([.. lab.Take(2).Select(Ip.Of)]);
        Assert.True(whole.IsPayloadGood);
        Assert.Equal(Ip.Of(packet.Frame).Payload[8..], whole.Payload[8..]);
    }

    /// <summary>A large TCP segment that may be fragmented is cut into smaller segments instead: no fragment can get lost alone.</summary>
    [Fact]
    public void ALargeSegmentBecomesSmallerOnes()
    {
        using RouteLab lab = Kernel(576);
        Unfinished packet = MayFragment(Inet.Tcp(3000, 1448, destination: MacOf(1), source: PeerMac(1)));
        lab.Switch.Send(1, packet);
        List<Ip> segments = [.. lab.Take(2).Select(Ip.Of)];
        Assert.All(segments, segment => Assert.True(segment is { Fragment: 0, IsPayloadGood: true } && segment.ToBytes().Length <= 576));
        Assert.Equal(Ip.Of(packet.Frame).Payload[20..], segments.SelectMany(segment => segment.Payload[20..]));
    }

    /// <summary>Large datagrams are cut as their sender asked, and then into fragments.</summary>
    [Fact]
    public void LargeDatagramsBecomeFragments()
    {
        using RouteLab lab = Kernel(576);
        Unfinished packet = MayFragment(Inet.Udp(3000, 1200, destination: MacOf(1), source: PeerMac(1)));
        lab.Switch.Send(1, packet);
        Ip[] datagrams = [.. lab.Take(2).Select(Ip.Of).GroupBy(fragment => fragment.Id).Select(group => Reassemble([.. group]))];
        Assert.Equal([1208, 1208, 608], datagrams.Select(datagram => datagram.Payload.Length));
        Assert.All(datagrams, datagram => Assert.True(datagram.IsPayloadGood));
        Assert.Equal(Ip.Of(packet.Frame).Payload[8..], datagrams.SelectMany(datagram => datagram.Payload[8..]));
    }

    /// <summary>One whose segments fit passes whole, whatever its own length.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ALargeSegmentWhoseSegmentsFitPasses(bool v6)
    {
        using RouteLab lab = Kernel(1500);
        Unfinished packet = Inet.Tcp(60_000, v6 ? 1440 : 1460, v6: v6, destination: MacOf(1), source: PeerMac(1));
        lab.Switch.Send(1, packet);
        Unfinished sent = Assert.Single(lab.Switch.TakeUnfinished(2));
        Assert.Equal(packet.Vnet, sent.Vnet);
        Ip before = Ip.Of(packet.Frame);
        Assert.Equal(before with { Ttl = 63 }, Ip.Of(sent.Frame));
        // And what comes of it, once it is cut, is right.
        Assert.All(Reference.Cut(sent), frame => Assert.Equal(63, Ip.Of(frame).Ttl));
    }

    [Fact]
    public unsafe void WithoutBuffersNothingIsSent()
    {
        using RouteLab lab = Lab(576);
        lab.Switch.Inject(1, ToRouter(1, Ip.OfUdp(A4, B4, 1, 2, 1400)));
        using (Hoard.AllBut(lab.Switch.Engine.Small, 2))
        {
            lab.Switch.Poll();
        }
        Assert.Empty(lab.Take(2));
        Assert.Equal("1 NoBuffer 1", lab.Switch.Drops());
    }

    [Fact]
    public void AnEndBeyondAllIpPacketsIsNoFragment()
    {
        using RouteLab lab = Lab(576);
        lab.Send(1, Ip.OfUdp(A4, B4, 1, 2, 1000) with { Fragment = 0x1FFF });
        Assert.Empty(lab.Take(2));
        Assert.Equal("1 BadIpHeader 1", lab.Switch.Drops());
    }

    [TsharkFact]
    public void TsharkAgrees()
    {
        using RouteLab lab = Lab(600);
        lab.Send(1, Ip.OfUdp(A4, B4, 1, 2, 3000), Ip.OfEcho(A4, B4, 1401), Ip.OfUdp(A4, B4, 3, 4, 1001) with { Id = 7, Options = [0x94, 4, 0, 0] });
        Assert.All(Tshark.Complaints(lab.Take(2)), complaint => Assert.Equal("", complaint));
    }

    /// <summary>RFC 791, 3.2, by a list of the bytes seen.</summary>
    private static Ip Reassemble(List<Ip> fragments)
    {
        Ip first = Assert.Single(fragments, fragment => (fragment.Fragment & 0x1FFF) == 0);
        Ip last = Assert.Single(fragments, fragment => (fragment.Fragment & 0x2000) == 0);
        byte[] payload = new byte[((last.Fragment & 0x1FFF) * 8) + last.Payload.Length];
        int[] seen = new int[payload.Length];
        foreach (Ip fragment in fragments)
        {
            Assert.Equal((first.Source, first.Destination, first.Protocol, first.Id, first.Ttl), (fragment.Source, fragment.Destination, fragment.Protocol, fragment.Id, fragment.Ttl));
            int at = (fragment.Fragment & 0x1FFF) * 8;
            fragment.Payload.CopyTo(payload, at);
            for (int i = 0; i < fragment.Payload.Length; i++)
            {
                seen[at + i]++;
            }
        }
        Assert.All(seen.Distinct(), times => Assert.Equal(1, times));
        return first with { Payload = payload, Fragment = 0 };
    }

    private static RouteLab Lab(int mtu)
    {
        RouteLab lab = new();
        return lab.Routed(1, "10.0.1.1/24").Routed(2, record => record with { Mtu = (ushort)mtu }, "10.0.2.1/24").Neighbour(2, B4);
    }

    /// <summary>Between ports that leave work undone as TAPs do; addresses as <see cref="Inet"/> has them.</summary>
    private static RouteLab Kernel(int mtu)
    {
        RouteLab lab = new() { TakesOffloads = true };
        lab.Routed(1, "172.18.0.1/31", "fd00::1/126").Routed(2, record => record with { Mtu = (ushort)mtu });
        return lab.Via("172.18.0.3", 2, "172.18.0.3").Neighbour(2, "172.18.0.3").Via("fd00::3", 2, "fd00::3").Neighbour(2, "fd00::3");
    }

    /// <summary>Without "do not fragment".</summary>
    private static Unfinished MayFragment(Unfinished packet)
    {
        byte[] frame = [.. packet.Frame];
        frame[20] = 0;
        (frame[24], frame[25]) = (0, 0);
        Ip.Big16(Reference.Checksum(frame.AsSpan(14, 20))).CopyTo(frame, 24);
        return packet with { Frame = frame };
    }
}
