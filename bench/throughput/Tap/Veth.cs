using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Tap;

/// <summary>Pairs of virtual Ethernet devices; veth(4).</summary>
internal static class Veth
{
    /// <summary>Makes one between a switch's namespace and a container, whose end gets an address.</summary>
    public static void Connect(string switchNs, string switchEnd, string containerNs, string device, string address)
    {
        Tool.Run("ip", ["-n", switchNs, "link", "add", switchEnd, "type", "veth", "peer", "name", device, "netns", containerNs]);
        Tool.Run("ip", ["-n", switchNs, "link", "set", switchEnd, "up"]);
        Tool.Run("ip", ["-n", containerNs, "addr", "add", address, "dev", device]);
        Tool.Run("ip", ["-n", containerNs, "link", "set", device, "up"]);
        Tool.Run("ip", ["-n", containerNs, "link", "set", "lo", "up"]);
    }
}
