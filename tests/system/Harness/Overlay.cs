using Dataplane.Control.Api.V1;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A node of a cluster whose containers' packets the switch routes and encapsulates: container, host port, an
/// uplink, and one VXLAN network to the other nodes, as flannel has it.
/// </summary>
public sealed class Overlay
{
    public const uint Vni = 1;
    public const int UdpPort = 8472;

    private readonly int _podMtu;
    private readonly UplinkKind _uplink;

    /// <param name="on">A switch that runs; its host namespace has the underlay's device.</param>
    /// <param name="number">10.244.NUMBER.0/24 and fd00:10:NUMBER::/64 are its containers'.</param>
    /// <param name="ipv6Underlay">Outer packets are IPv6.</param>
    /// <param name="podMtu">Of the containers' network; that of the overlay is what the underlay leaves.</param>
    /// <param name="uplink">By what it reaches the underlay.</param>
    public Overlay(Switch on, int number, bool ipv6Underlay, int podMtu, UplinkKind uplink = UplinkKind.Netdev)
    {
        _uplink = uplink;
        Switch = on;
        Number = number;
        IPv6Underlay = ipv6Underlay;
        _podMtu = podMtu;
        Namespace pod = on.Container($"pod{number}");
        on.Apply($$"""
            ports:
            - {{UplinkPort()}}
            - {name: dp0, network: pods, tap: {host: true} }
            - {{PodPort("pod", 2, pod)}}
            networks:
            - {{PodNetwork(podMtu)}}
            - name: overlay
              mac: "{{VtepMac}}"
              router: {}
              vxlan: {vni: {{Vni}}, port: {{UdpPort}}, local: "{{EndPoint(number)}}", flood: false}
            """);
        if (uplink == UplinkKind.HostTap)
        {
            on.Apply($$"""routes: [{prefix: 0.0.0.0/0, next_hops: [{via: 172.31.{{number}}.1}]}]""");
            on.Host.Do("sysctl", "-qw", "net.ipv4.ip_forward=1");
            on.Host.Do("ip", "address", "add", $"{UnderlayAddress(number, ipv6: false)}/24", "dev", Underlay.Device);
        }
        foreach (string port in new[] { "uplink", "dp0", "pod" })
        {
            on.WaitFor(port, PortStatus.Types.State.Up);
        }
        Container = new Station("pod", pod, "eth0", $"10.244.{number}.2", on.Api.PortStatus("pod").Mac);
        Host = new Station("dp0", on.Host, "dp0", $"10.244.{number}.1", on.Api.PortStatus("dp0").Mac);
    }

    public Switch Switch { get; }
    public int Number { get; }
    public bool IPv6Underlay { get; }
    public Station Container { get; }
    public Station Host { get; }

    /// <summary>MAC address of the node in the overlay.</summary>
    public string VtepMac => $"02:bb:00:00:00:{Number:x2}";

    /// <summary>A node's address on the link between the nodes.</summary>
    public static string UnderlayAddress(int number, bool ipv6) => ipv6 ? $"fd00:99::{number}" : $"192.0.2.{number}";

    /// <summary>The address of a node's tunnel end point.</summary>
    public string EndPoint(int number) => _uplink == UplinkKind.HostTap ? $"172.31.{number}.2" : UnderlayAddress(number, IPv6Underlay);

    /// <summary>A container's other address: that of the same numbers.</summary>
    public static string IPv6Of(Station station) => station.Address.Split('.') is [_, _, var node, var host] ? $"fd00:10:{node}::{host}" : throw new ArgumentException(station.Address);

    /// <summary>One more container on the node.</summary>
    /// <param name="name">Of its port.</param>
    /// <param name="host">10.244.NODE.HOST is its address.</param>
    public Station AddContainer(string name, int host)
    {
        Namespace pod = Switch.Container($"{name}{Number}");
        Switch.Apply($"ports: [{PodPort(name, host, pod)}]");
        Switch.WaitFor(name, PortStatus.Types.State.Up);
        return new Station(name, pod, "eth0", $"10.244.{Number}.{host}", Switch.Api.PortStatus(name).Mac);
    }

    /// <summary>While something is done, the node's containers think that larger packets cross than do.</summary>
    public void WithPodMtu(int mtu, Action action)
    {
        SetPodMtu(mtu);
        try
        {
            action();
        }
        finally
        {
            SetPodMtu(_podMtu);
        }
    }

    /// <summary>Another node joins.</summary>
    public void AddPeer(int number, string vtepMac)
    {
        Switch.Apply($$"""
            tunnel_peers:
            - {name: node{{number}}, network: overlay, address: "{{EndPoint(number)}}", mac: "{{vtepMac}}"}
            routes:
            - {prefix: 10.244.{{number}}.0/24, next_hops: [{peer: node{{number}}}]}
            - {prefix: "fd00:10:{{number}}::/64", next_hops: [{peer: node{{number}}}]}
            """);
        if (_uplink == UplinkKind.HostTap)
        {
            Switch.Host.Do("ip", "route", "add", $"{EndPoint(number)}/32", "via", UnderlayAddress(number, ipv6: false));
        }
    }

    private void SetPodMtu(int mtu)
    {
        Switch.Apply($"networks: [{PodNetwork(mtu)}]");
        Container.Namespace.Do("ip", "link", "set", Container.Device, "mtu", $"{mtu}");
    }

    private string UplinkPort() => _uplink == UplinkKind.HostTap
        ? $"{{name: uplink, tap: {{addresses: [172.31.{Number}.1/24]}}, routed: {{addresses: [{EndPoint(Number)}/24]}}}}"
        : $"{{name: uplink, {Device()}, "
            + $"routed: {{addresses: [\"{EndPoint(Number)}{(IPv6Underlay ? "/64" : "/24")}\"]}}}}";

    private string Device() => _uplink switch
    {
        UplinkKind.Xdp => $"dpdk: {{devargs: \"net_af_xdp0,iface={Underlay.Device}\"}}",
        UplinkKind.Packet => $"dpdk: {{devargs: \"net_af_packet0,iface={Underlay.Device}\"}}",
        _ => $"netdev: {{device: {Underlay.Device}}}",
    };

    private string PodPort(string name, int host, Namespace pod) =>
        $"{{name: {name}, network: pods, tap: {{netns: {pod.Name}, addresses: [10.244.{Number}.{host}/24, \"fd00:10:{Number}::{host}/64\"], default_route: true}}}}";

    private string PodNetwork(int mtu) =>
        $"{{name: pods, subnets: [10.244.{Number}.0/24, \"fd00:10:{Number}::/64\"], gateways: [10.244.{Number}.1, \"fd00:10:{Number}::1\"], mtu: {mtu}, router: {{}}}}";
}
