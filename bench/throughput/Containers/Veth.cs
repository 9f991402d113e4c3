using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Pairs of virtual Ethernet devices; veth(4).</summary>
internal static class Veth
{
    /// <summary>Makes one between a container, whose end gets an address, and a switch, whose end is left down.</summary>
    /// <param name="switchNs">The switch's namespace: its name, or the number of a process in it.</param>
    /// <param name="switchEnd">Name of the switch's end.</param>
    /// <param name="containerNs">Name of the container's namespace.</param>
    /// <param name="device">Name of the container's end.</param>
    /// <param name="address">Its address with the length of the prefix.</param>
    public static void Connect(string switchNs, string switchEnd, string containerNs, string device, string address)
    {
        Tool.Run("ip", ["-n", containerNs, "link", "add", device, "type", "veth", "peer", "name", switchEnd, "netns", switchNs]);
        Tool.Run("ip", ["-n", containerNs, "addr", "add", address, "dev", device]);
        Tool.Run("ip", ["-n", containerNs, "link", "set", device, "up"]);
        Tool.Run("ip", ["-n", containerNs, "link", "set", "lo", "up"]);
    }
}
