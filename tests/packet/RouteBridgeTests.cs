using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>Between a bridge and the router that is one of its ports.</summary>
public sealed class RouteBridgeTests
{
    private const string Inside4 = "10.0.5.3", Inside6 = "fd00:5::3", Outside4 = "10.0.1.2", Outside6 = "fd00:1::2";
    private static readonly string InsideMac = PeerMac(3);

    /// <summary>To stations whose port the bridge knows, and to those that it must flood for.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void FromOutsideToAStation(bool isKnown, bool vlanAware)
    {
        using RouteLab lab = Lab(vlanAware);
        if (isKnown)
        {
            lab.Switch.SetStatic(InsideMac, 3, vlan: vlanAware ? 1 : 0);
        }
        Ip[] packets = [Ip.OfUdp(Outside4, Inside4, 1, 2), Ip.OfUdp(Outside6, Inside6, 1, 2), Ip.OfUdp(Outside4, Inside4, 1, 3)];
        lab.Send(1, packets);
        byte[][] expected = [.. packets.Select(packet => (packet with { Ttl = 63 }).In(InsideMac, MacOf(10)))];
        Assert.Equal(expected, lab.Take(3));
        Assert.Equal(isKnown ? [] : expected, lab.Take(4));
        Assert.Equal((3ul, isKnown ? 0ul : 3ul), (lab.Switch.Counters(1).Forwarded, lab.Switch.Counters(1).Copies));
        Assert.Equal("", lab.Switch.Drops());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void FromAStationToOutside(bool vlanAware)
    {
        using RouteLab lab = Lab(vlanAware);
        Ip[] packets = [Ip.OfUdp(Inside4, Outside4, 1, 2), Ip.OfUdp(Inside6, Outside6, 1, 2)];
        lab.Switch.Send(3, [.. packets.Select(packet => packet.In(MacOf(10), InsideMac))]);
        Assert.Equal(packets.Select(packet => (packet with { Ttl = 63 }).In(PeerMac(1), MacOf(1))), lab.Take(1));
        PortCounters router = lab.Switch.Counters(10);
        Assert.Equal((2ul, 2ul, 2ul, 2ul), (router.Offered, router.TxPackets, router.RxPackets, router.Forwarded));
    }

    /// <summary>More than a transmit buffer holds, in one poll.</summary>
    [Fact]
    public void ManyAtOnce()
    {
        using RouteLab lab = Lab(vlanAware: false);
        lab.Switch.SetStatic(InsideMac, 3);
        lab.Switch.SetStatic(PeerMac(4), 4);
        lab.Neighbour(10, "10.0.5.4", PeerMac(4));
        for (int i = 0; i < 300; i++)
        {
            lab.Switch.Inject(1, ToRouter(1, Ip.OfUdp(Outside4, i % 2 == 0 ? Inside4 : "10.0.5.4", 1, i)));
            lab.Switch.Inject(3, Ip.OfUdp(Inside4, Outside4, 1, i).In(MacOf(10), InsideMac));
        }
        lab.Switch.Poll();
        Assert.Equal(Enumerable.Range(0, 300).Where(i => i % 2 == 0), lab.Take(3).Select(frame => (int)Ip.Of(frame).Word(2)));
        Assert.Equal(Enumerable.Range(0, 300).Where(i => i % 2 != 0), lab.Take(4).Select(frame => (int)Ip.Of(frame).Word(2)));
        Assert.Equal(Enumerable.Range(0, 300), lab.Take(1).Select(frame => (int)Ip.Of(frame).Word(2)));
        Assert.Equal("", lab.Switch.Drops());
    }

    /// <summary>A flooded packet is read by the router and changed by nobody.</summary>
    [Fact]
    public void BroadcastsReachTheOthersUnchanged()
    {
        using RouteLab lab = Lab(vlanAware: false);
        byte[] frame = Ip.OfUdp(Inside4, "10.0.5.255", 68, 67).In(Frame.Broadcast, InsideMac);
        lab.Switch.Send(3, frame);
        Assert.Equal(frame, Assert.Single(lab.Take(4)));
        Assert.Equal("10 MulticastNotRouted 1", lab.Switch.Drops());
    }

    /// <summary>A station behind a port that may not take the packet.</summary>
    [Fact]
    public void TheBridgeMayRefuse()
    {
        using RouteLab lab = Lab(vlanAware: false);
        lab.Switch.SetStatic(InsideMac, 3);
        lab.Switch.Flags(3, clear: PortFlags.Enabled);
        lab.Send(1, Ip.OfUdp(Outside4, Inside4, 1, 2));
        lab.Switch.Remove(InsideMac);
        lab.Switch.SetStatic(InsideMac, 0, Tables.MacFlags.Drop);
        lab.Send(1, Ip.OfUdp(Outside4, Inside4, 1, 2));
        Assert.Equal("1 BlackHole 1, 1 OutputDisabled 1", lab.Switch.Drops());
    }

    /// <summary>A next hop that is the router itself leads in a circle.</summary>
    [Fact]
    public void ALoopIsCut()
    {
        using RouteLab lab = Lab(vlanAware: false);
        lab.Neighbour(10, "10.0.5.9", MacOf(10));
        lab.Route(1, "192.0.2.0/24", new NextHopRecord { Kind = NextHopKind.Adjacency, Port = 10, Mac = Value(MacOf(10)), SourceMac = Value(MacOf(1)) });
        lab.Send(1, Ip.OfUdp(Outside4, "10.0.5.9", 1, 2), Ip.OfUdp(Outside4, "192.0.2.1", 1, 2));
        Assert.Equal("1 RouterLoop 2", lab.Switch.Drops());
    }

    /// <summary>Errors go back into the bridge they came from.</summary>
    [Fact]
    public void AStationIsToldOfErrors()
    {
        using RouteLab lab = Lab(vlanAware: false);
        lab.Switch.Send(3, Ip.OfUdp(Inside4, "192.0.2.1", 1, 2).In(MacOf(10), InsideMac));
        Ip error = lab.TakeOne(3);
        Assert.Equal(("10.0.5.1", Inside4, (byte)3), (error.Source, error.Destination, error.Payload[0]));
    }

    /// <summary>A packet that somebody else holds too, from a port of the test: it is copied, not changed.</summary>
    [Fact]
    public unsafe void WhatOthersHoldIsCopied()
    {
        using RouteLab lab = Lab(vlanAware: false);
        byte[] frame = ToRouter(1, Ip.OfUdp(Outside4, Inside4, 1, 2));
        var mbuf = MbufCopy.FromBytes(frame, lab.Switch.Engine.Small, lab.Switch.Engine.Large);
        Interop.Dpdk.Shim.dps_mbuf_ref(mbuf, 1);
        lab.Switch.TryInject(1, mbuf);
        lab.Switch.Poll();
        Assert.Equal(frame, MbufCopy.ToBytes(mbuf));
        Interop.Dpdk.Shim.dps_mbuf_free(mbuf);
        Assert.Equal((byte)63, lab.TakeOne(3).Ttl);
    }

    /// <summary>Port 1 is routed; ports 3 and 4 are in the bridge, of which port 10 is the router.</summary>
    private static RouteLab Lab(bool vlanAware)
    {
        RouteLab lab = new(bridge: vlanAware ? TestSwitch.VlanAware : null);
        if (vlanAware)
        {
            lab.Switch.Access(3, 1).Access(4, 1);
        }
        else
        {
            lab.Switch.Port(3).Port(4);
        }
        return lab.Router(10, 0, record => record, "10.0.5.1/24", "fd00:5::1/64").Routed(1, "10.0.1.1/24", "fd00:1::1/64")
            .Neighbour(1, Outside4).Neighbour(1, Outside6).Neighbour(10, Inside4, InsideMac).Neighbour(10, Inside6, InsideMac);
    }
}
