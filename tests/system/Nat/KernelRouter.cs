using Dataplane.PacketTests.Harness;
using Dataplane.SystemTests.Harness;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.SystemTests.Nat;

/// <summary>
/// The Linux kernel with netfilter's address translation, in a namespace. Its links are veth pairs, whose other ends are in a namespace
/// that answers nothing.
/// </summary>
public sealed class KernelRouter : INatRouter
{
    private static readonly string[] Devices = ["inside", "middle", "outside"];

    /// <summary>By its packets from link 1 to link 2 is known what the router has done: it works packets off in their order.</summary>
    private const int Marker = 99, DiscardPort = 9;

    private readonly Namespace _router = new("router"), _world = new("world");
    private readonly RawSocket[] _sockets = new RawSocket[Devices.Length];
    private readonly string _from, _to;
    private ushort _marked;

    public KernelRouter(NatNet net)
    {
        string[] ip = ["ip", net.IsV6 ? "-6" : "-4"];
        _router.Do("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1", "net.ipv6.conf.default.accept_dad=0",
            "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0", "net.ipv4.conf.all.send_redirects=0", "net.ipv4.conf.default.send_redirects=0");
        _world.Do("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1");
        for (int i = 0; i < Devices.Length; i++)
        {
            _router.Do("ip", "link", "add", Devices[i], "address", MacOf(i + 1), "type", "veth", "peer", "name", Devices[i], "netns", _world.Name);
            foreach (Namespace end in (Namespace[])[_router, _world])
            {
                end.Do("ip", "link", "set", Devices[i], "up");
            }
            _router.Do([.. ip, "address", "add", net.Routers[i], "dev", Devices[i], .. net.IsV6 ? ["nodad"] : Array.Empty<string>()]);
            _sockets[i] = new RawSocket(_world, Devices[i], receives: true);
        }
        (_from, _to) = (Neighbouring(net.Hosts[0]), Neighbouring(net.Servers[0]));
        foreach ((int link, string address, int number) in (IEnumerable<(int, string, int)>)[.. net.Stations, (NatNet.Inside, _from, Marker), (NatNet.Middle, _to, Marker)])
        {
            _router.Do([.. ip, "neighbour", "add", address, "lladdr", PeerMac(link, number), "dev", Devices[link - 1], "nud", "permanent"]);
        }
        _router.Do([.. ip, "route", "add", "default", "via", net.Gateway]);
        Tool.Run(_router.Inside("nft", "-f", "-"), input: Rules(net)).Succeeds();
        // Sequence numbers are right, windows are not looked at: nor does the switch.
        _router.Do("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_be_liberal=1");
    }

    public List<(int Link, Ip Packet)> Exchange(int link, int station, Ip packet)
    {
        _sockets[link - 1].Send(ToRouter(link, packet, station));
        Ip marker = Ip.OfUdp(_from, _to, DiscardPort, DiscardPort, 16) with { Ttl = 200, Id = ++_marked };
        _sockets[NatNet.Inside - 1].Send(ToRouter(NatNet.Inside, marker, Marker));
        var passed = new List<(int, Ip)>();
        Until.True(() => Read(passed, NatNet.Middle).Contains(_marked), "the kernel has passed the marker on");
        Read(passed, NatNet.Inside);
        Read(passed, NatNet.Outside);
        return passed;
    }

    public void Dispose()
    {
        foreach (RawSocket socket in _sockets)
        {
            socket?.Dispose();
        }
        _router.Dispose();
        _world.Dispose();
    }

    /// <summary>Takes what came to stations of a link; gives the numbers of the markers among it.</summary>
    private List<ushort> Read(List<(int, Ip)> passed, int link)
    {
        var markers = new List<ushort>();
        while (_sockets[link - 1].TryReceive() is { } frame)
        {
            // What is not for one station is the kernel's own: neighbour discovery, reports of its groups.
            if (frame.Length < 34 || (frame[0] & 1) != 0 || frame[12] << 8 != (frame[13] == 0xDD ? 0x8600 : 0x0800))
            {
                continue;
            }
            var packet = Ip.Of(frame);
            if (packet.Protocol == Ip.Icmp6 && packet.Ttl == 255)
            {
                continue; // a redirect
            }
            if (packet.Protocol == Ip.Udp && packet.Source == _from && packet.Word(2) == DiscardPort)
            {
                markers.Add(packet.IsV6 ? _marked : packet.Id);
            }
            else
            {
                passed.Add((link, packet));
            }
        }
        return markers;
    }

    /// <summary>A service is DNAT, and what is not translated although it should be is dropped: as kube-proxy and Docker have it.</summary>
    private static string Rules(NatNet net)
    {
        string ip = net.IsV6 ? "ip6" : "ip";
        return $$"""
            table {{ip}} nat {
                chain before {
                    type nat hook prerouting priority dstnat;
                    {{ip}} daddr {{net.Vip}} udp dport 53 dnat to {{NatNet.At(net.Servers[0], 5353)}}
                    {{ip}} daddr {{net.Vip}} tcp dport 80 dnat to {{NatNet.At(net.Servers[1], 8080)}}
                }
                chain after {
                    type nat hook postrouting priority srcnat;
                    {{ip}} saddr {{net.Routers[0]}} oifname "outside" masquerade
                    {{ip}} saddr {{net.Routers[1]}} oifname "middle" ct status dnat masquerade
                }
            }
            table {{ip}} filter {
                chain pass {
                    type filter hook forward priority filter;
                    ct state invalid drop
                    {{ip}} daddr {{net.Vip}} drop
                }
            }
            """;
    }

    private static string Neighbouring(string address) =>
        address[..(address.LastIndexOfAny([':', '.']) + 1)] + $"{Marker}";
}
