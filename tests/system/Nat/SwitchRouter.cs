using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.SystemTests.Nat;

/// <summary>This switch, in the test's own process, on memory ports.</summary>
public sealed class SwitchRouter : INatRouter
{
    private readonly RouteLab _lab = new();

    public SwitchRouter(NatNet net)
    {
        for (int link = NatNet.Inside; link <= NatNet.Outside; link++)
        {
            _lab.Routed(link, net.Routers[link - 1]);
        }
        foreach ((int link, string address, int number) in net.Stations)
        {
            _lab.Neighbour(link, address, PeerMac(link, number));
        }
        _lab.Via(net.IsV6 ? "::/0" : "0.0.0.0/0", NatNet.Outside, net.Gateway)
            .Service(Ip.Udp, NatNet.At(net.Vip, 53), NatNet.At(net.Servers[0], 5353))
            .Service(Ip.Tcp, NatNet.At(net.Vip, 80), NatNet.At(net.Servers[1], 8080))
            .ServiceAddress(net.Vip)
            .Masquerade(NatNet.Inside, NatNet.Outside, [net.Masqueraded])
            .Tracks();
    }

    /// <summary>Why packets were dropped, to be shown when a test fails.</summary>
    public string Drops => _lab.Switch.Drops();

    public ConnectionStatistics Connections => _lab.Switch.Segment.Connections.Statistics();

    public List<(int Link, Ip Packet)> Exchange(int link, int station, Ip packet)
    {
        _lab.Switch.Send(link, ToRouter(link, packet, station));
        return [.. Enumerable.Range(NatNet.Inside, NatNet.Outside).SelectMany(port => _lab.Take(port).Select(frame => (port, Ip.Of(frame))))];
    }

    public void Dispose() => _lab.Dispose();
}
