using Dataplane.Control.Api.V1;

namespace Dataplane.SystemTests.Harness;

/// <summary>A node of ours on a network that several nodes share: one link layer, whose frames are flooded to the peers and learned from them.</summary>
public sealed class StretchedNode
{
    public const uint Vni = 4097;
    public const int UdpPort = 4789;

    /// <param name="on">A switch that runs; its host namespace has the underlay's device.</param>
    /// <param name="number">10.50.0.NUMBER and fd00:50::NUMBER are its container's.</param>
    public StretchedNode(Switch on, int number)
    {
        Switch = on;
        Number = number;
        Namespace pod = on.Container($"pod{number}");
        on.Apply($$"""
            ports:
            - name: uplink
              netdev: {device: {{Underlay.Device}}}
              routed: {addresses: [{{UnderlayAddress(number)}}/24]}
            - {name: pod, network: shared, tap: {netns: {{pod.Name}}, addresses: ["{{Address(number)}}/24", "{{IPv6Of(number)}}/64"]} }
            networks:
            - name: shared
              vxlan: {vni: {{Vni}}, local: {{UnderlayAddress(number)}} }
            """);
        on.WaitFor("uplink", PortStatus.Types.State.Up);
        on.WaitFor("pod", PortStatus.Types.State.Up);
        Container = new Station("pod", pod, "eth0", Address(number), on.Api.PortStatus("pod").Mac);
    }

    public Switch Switch { get; }
    public int Number { get; }
    public Station Container { get; }

    public static string Address(int number) => $"10.50.0.{number}";

    public static string IPv6Of(int number) => $"fd00:50::{number}";

    public static string UnderlayAddress(int number) => Overlay.UnderlayAddress(number, ipv6: false);

    /// <summary>Another node joins.</summary>
    public void AddPeer(int number) => Switch.Apply($$"""tunnel_peers: [{name: node{{number}}, network: shared, address: {{UnderlayAddress(number)}}}]""");
}
