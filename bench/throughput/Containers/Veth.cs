using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Pairs of virtual Ethernet devices; veth(4).</summary>
internal static class Veth
{
    /// <summary>The device that connects two nodes, in both of them.</summary>
    public const string Underlay = "under0";

    /// <summary>Makes a link between two nodes. What one kernel leaves to a device crosses undone, as between virtual machines of one host.</summary>
    /// <param name="one">Namespace of the one.</param>
    /// <param name="other">That of the other.</param>
    public static void ConnectNodes(string one, string other)
    {
        Tool.Run("ip", ["-n", one, "link", "add", Underlay, "type", "veth", "peer", "name", Underlay, "netns", other]);
        foreach (string node in new[] { one, other })
        {
            Tool.Run("ip", ["-n", node, "link", "set", Underlay, "up"]);
            Tool.Run("ip", ["-n", node, "link", "set", "lo", "up"]);
        }
    }

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
