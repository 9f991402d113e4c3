using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using static Dataplane.PacketTests.Harness.Frame;
using static Dataplane.PacketTests.Harness.Overlay;

namespace Dataplane.PacketTests;

/// <summary>The way of outer packets: neighbours to ask for, bridges under tunnels, and configurations that make a loop of it.</summary>
public sealed class VxlanUnderlayTests
{
    private const int RouterPort = 30, Uplink = 31;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ANextHopIsAskedForOnceAndThenKnown(bool v6)
    {
        using TestSwitch sw = Node(v6, zeroChecksum: true);
        sw.SetStatic(B, FirstTunnel);
        IPv6Number gateway = Number(Vtep(v6, 100));
        sw.RouteBy(new NextHopRecord { Kind = v6 ? NextHopKind.Gateway6 : NextHopKind.Gateway4, Port = Underlay, Gateway = gateway });
        sw.Send(1, Of(B, A), Of(B, A), Of(B, A));
        byte[] question = Assert.Single(sw.Take(Underlay));
        Assert.Equal($"{FirstTunnel} EgressNoTunnelRoute 3", sw.Drops());
        sw.Send(Underlay, Answer(question, v6));
        sw.Send(1, Of(B, A));
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Of(B, A), came, v6), came);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void APeerOnTheLinkIsItsOwnNextHop(bool v6)
    {
        using TestSwitch sw = Node(v6, zeroChecksum: true);
        sw.SetStatic(B, FirstTunnel);
        IPv6Number peer = Number(Vtep(v6, 1));
        NeighbourKey key = v6 ? sw.Segment.Neighbours.Key6(Underlay, peer.High, peer.Low) : NeighbourTable.Key4(Underlay, (uint)peer.Low);
        Assert.True(sw.Writer.SetNeighbour(in key, MacAddress.Parse(Router).Value));
        sw.RouteBy(new NextHopRecord { Kind = NextHopKind.Connected, Port = Underlay });
        sw.Send(1, Of(B, A));
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Of(B, A), came, v6), came);
    }

    [Fact]
    public void TheUnderlayMayBeABridgeOfItsOwn()
    {
        const int Second = 2;
        using TestSwitch sw = Node();
        sw.Port(Uplink);
        MoveToBridge(sw, Second, Underlay, Uplink);
        ByBridge(sw, Second);

        // Nobody has seen the other router yet: what goes there is flooded.
        sw.Send(1, Of(Broadcast, A));
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Of(Broadcast, A), came), came);
        Assert.Equal([came], sw.Take(Uplink));
        // In: by the bridge to its router, and out again.
        sw.Send(Underlay, From(Of(A, C)), From(Of(A, C)));
        Assert.Equal([Of(A, C), Of(A, C)], sw.Take(1));
        Assert.Equal(2ul, sw.Counters(RouterPort).Consumed);
        // And now it is known where the other router is.
        sw.Send(1, Of(C, A));
        came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Of(C, A), came), came);
        Assert.Empty(sw.Take(Uplink));
        Assert.Equal("", sw.Drops());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void ATunnelUnderItselfIsALoopThatEndsAtOnce(int tunnels)
    {
        // The router port of the overlay's own bridge: each outer packet is flooded to the tunnels again.
        using TestSwitch sw = Node(others: tunnels, takesOffloads: true);
        MoveToBridge(sw, TestSwitch.Bridge);
        ByBridge(sw, TestSwitch.Bridge);
        sw.Send(1, Of(Broadcast, A));
        Assert.Equal(1 + tunnels, sw.Take(2).Count);
        int outer = tunnels * tunnels;
        Assert.Equal(outer, Enumerable.Range(FirstTunnel, tunnels).Sum(port => (int)sw.Drops(port, DropReason.EgressTunnelLoop)));
        // And when the tunnel's buffer overflows while it is being emptied.
        for (int i = 0; i < 100; i++)
        {
            sw.Inject(1, Of(Broadcast, A, payload: 60 + i));
        }
        sw.Send(1, Inet.Tcp(30_000, 300, destination: Broadcast));
        Assert.NotEmpty(sw.Take(2));
    }

    /// <summary>Moves ports to another bridge, with a router's port there that has the underlay's addresses.</summary>
    private static void MoveToBridge(TestSwitch sw, int bridge, params int[] ports)
    {
        sw.Deviceless(RouterPort, PortFlags.Default | PortFlags.Router, record => record with { Bridge = (ushort)bridge, Mtu = Mtu });
        sw.Writer.Begin();
        BridgeRecord first = sw.Writer.Bridge(TestSwitch.Bridge);
        var record = bridge == TestSwitch.Bridge ? first : new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = (ushort)bridge, AgeingSeconds = 300 };
        foreach (int port in (int[])[RouterPort, .. ports])
        {
            PortSet.Remove(ref first.Members, port);
            PortSet.Add(ref record.Members, port);
            if (port != RouterPort)
            {
                sw.Writer.SetPort(port, new PortRecord { Flags = PortFlags.Default, Bridge = (ushort)bridge, Mtu = Mtu });
            }
        }
        sw.Writer.SetBridge(TestSwitch.Bridge, first);
        sw.Writer.SetBridge(bridge, record with { RouterPort = RouterPort, Mac = MacAddress.Parse(Own).Value });
        sw.Writer.SetInterface(RouterPort, sw.Writer.Interface(Underlay));
        sw.Writer.SetInterface(Underlay, default);
        sw.Writer.Commit();
        Assert.True(sw.Writer.SetStaticMac(MacTable.Key((uint)bridge, MacAddress.Parse(Own).Value), RouterPort, MacFlags.Static));
    }

    private static void ByBridge(TestSwitch sw, int bridge)
    {
        Assert.Equal(RouterPort, sw.Writer.Bridge(bridge).RouterPort);
        sw.RouteBy(new NextHopRecord { Kind = NextHopKind.Gateway4, Port = RouterPort, Gateway = Number(Vtep(false, 100)) });
        NeighbourKey key = NeighbourTable.Key4(RouterPort, (uint)Number(Vtep(false, 100)).Low);
        Assert.True(sw.Writer.SetNeighbour(in key, MacAddress.Parse(Router).Value));
    }

    /// <summary>The answer to an ARP request (RFC 826) or a neighbour solicitation (RFC 4861, 4.4).</summary>
    private static byte[] Answer(byte[] question, bool v6)
    {
        byte[] mac = MacAddress.Parse(Router).ToBytes();
        if (!v6)
        {
            byte[] arp = [.. question[14..20], 0, 2, .. mac, .. question[38..42], .. question[22..32]];
            return Raw(Own, Router, Wire.EtherTypeArp, arp);
        }
        byte[] target = question[62..78], asker = question[22..38];
        byte[] message = [136, 0, 0, 0, 0x60, 0, 0, 0, .. target, 2, 1, .. mac];
        byte[] pseudo = [.. target, .. asker, 0, 0, 0, (byte)message.Length, 0, 0, 0, 58];
        ushort checksum = Reference.Checksum([.. pseudo, .. message]);
        (message[2], message[3]) = ((byte)(checksum >> 8), (byte)checksum);
        return Raw(Own, Router, Wire.EtherTypeIPv6, [0x60, 0, 0, 0, 0, (byte)message.Length, 58, 255, .. target, .. asker, .. message]);
    }
}
