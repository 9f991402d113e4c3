using Dataplane.Control.Api.V1;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A node of a cluster whose containers' packets the switch routes and encapsulates: container, host port, an uplink by AF_PACKET on a
/// kernel device, and one VXLAN network to the other nodes, as flannel has it.
/// </summary>
public sealed class Overlay
{
    /// <param name="on">A switch that runs; its host namespace has the underlay's device.</param>
    /// <param name="number">10.244.NUMBER.0/24 and fd00:10:NUMBER::/64 are its containers'.</param>
    /// <param name="ipv6Underlay">Outer packets are IPv6.</param>
    /// <param name="podMtu">Of the containers' network; that of the overlay is what the underlay leaves.</param>
    public Overlay(Switch on, int number, bool ipv6Underlay = false, int podMtu = 1430)
    {
        Switch = on;
        Number = number;
        IPv6Underlay = ipv6Underlay;
        Namespace pod = on.Container($"pod{number}");
        on.Apply($$"""
            ports:
            - name: uplink
              dpdk: {devargs: "net_af_packet0,iface={{Underlay.Device}}"}
              routed: {addresses: [{{UnderlayAddress(number, ipv6Underlay)}}{{(ipv6Underlay ? "/64" : "/24")}}]}
            - {name: dp0, network: pods, tap: {host: true} }
            - {name: pod, network: pods, tap: {netns: {{pod.Name}}, addresses: [10.244.{{number}}.2/24, "fd00:10:{{number}}::2/64"], default_route: true} }
            networks:
            - name: pods
              subnets: [10.244.{{number}}.0/24, "fd00:10:{{number}}::/64"]
              gateways: [10.244.{{number}}.1, "fd00:10:{{number}}::1"]
              mtu: {{podMtu}}
              router: {}
            - name: overlay
              mac: "{{VtepMac}}"
              router: {}
              vxlan: {vni: 1, port: 8472, local: "{{UnderlayAddress(number, ipv6Underlay)}}", flood: false}
            """);
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

    /// <summary>Another node joins.</summary>
    public void AddPeer(int number, string vtepMac) => Switch.Apply($$"""
        tunnel_peers:
        - {name: node{{number}}, network: overlay, address: "{{UnderlayAddress(number, IPv6Underlay)}}", mac: "{{vtepMac}}"}
        routes:
        - {prefix: 10.244.{{number}}.0/24, next_hops: [{peer: node{{number}}}]}
        - {prefix: "fd00:10:{{number}}::/64", next_hops: [{peer: node{{number}}}]}
        """);
}
