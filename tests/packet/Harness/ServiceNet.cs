using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.PacketTests.Harness;

/// <summary>A client on port 1, two backends on port 2, and the address of a service; and what they say to each other.</summary>
public sealed record ServiceNet(string Client, string Vip, string Backend, string Second)
{
    public static ServiceNet Of(bool v6) =>
        v6 ? new("fd00:1::2", "fd96::1", "fd00:2::10", "fd00:2::11") : new("10.0.1.2", "10.96.0.1", "10.0.2.10", "10.0.2.11");

    /// <summary>The router between them, for both families.</summary>
    public static RouteLab Lab(SegmentOptions? options = null) => new RouteLab(options: options).Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64")
        .Neighbour(1, "10.0.1.2").Neighbour(1, "fd00:1::2")
        .Neighbour(2, "10.0.2.10", RouteLab.PeerMac(2, 10)).Neighbour(2, "10.0.2.11", RouteLab.PeerMac(2, 11))
        .Neighbour(2, "fd00:2::10", RouteLab.PeerMac(2, 10)).Neighbour(2, "fd00:2::11", RouteLab.PeerMac(2, 11))
        .Tracks();

    /// <summary>What begins a connection.</summary>
    public static Ip First(byte protocol, string source, string destination, int from, int to) => protocol switch
    {
        Ip.Tcp => Ip.OfTcp(source, destination, from, to, Inet.Syn, [2, 4, 5, 180]),
        Ip.Udp => Ip.OfUdp(source, destination, from, to),
        _ => Ip.OfSctp(source, destination, from, to, SctpHeader.Init, 16),
    };

    /// <summary>What goes on with one.</summary>
    public static Ip Next(byte protocol, string source, string destination, int from, int to) => protocol switch
    {
        Ip.Tcp => Ip.OfTcp(source, destination, from, to, Inet.Ack, payload: 30),
        Ip.Udp => Ip.OfUdp(source, destination, from, to, 30),
        _ => Ip.OfSctp(source, destination, from, to, 0, 28),
    };

    /// <summary>What the backend answers to the first packet, from port 8080.</summary>
    public static Ip Answer(byte protocol, string backend, string client, ushort to) => protocol switch
    {
        Ip.Tcp => Ip.OfTcp(backend, client, 8080, to, Inet.Syn | Inet.Ack, [2, 4, 5, 180]),
        Ip.Udp => Ip.OfUdp(backend, client, 8080, to, 77),
        _ => Ip.OfSctp(backend, client, 8080, to, SctpHeader.InitAck, 20),
    };
}
