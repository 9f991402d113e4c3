using System.Globalization;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>flannel's way: on each of two nodes a bridge of the kernel, a veth pair for the container, and a VXLAN device to the other node.</summary>
public sealed class KernelNodes : ContainerNetwork
{
    public const string Name = "Linux bridge + vxlan";

    public KernelNodes()
    {
        try
        {
            string[] nodes = [Namespaces.Create("node1"), Namespaces.Create("node2")], containers = [First, Second], addresses = [FirstAddress, SecondAddress];
            Veth.ConnectNodes(nodes[0], nodes[1]);
            for (int i = 0; i < nodes.Length; i++)
            {
                string node = nodes[i], vni = Vni.ToString(CultureInfo.InvariantCulture), mtu = TunnelledMtu.ToString(CultureInfo.InvariantCulture);
                Tool.Run("ip", ["-n", node, "addr", "add", $"192.0.2.{i + 1}/24", "dev", Veth.Underlay]);
                Tool.Run("ip", ["-n", node, "link", "add", "br0", "type", "bridge"]);
                Tool.Run("ip", ["-n", node, "link", "add", "vxlan0", "type", "vxlan", "id", vni, "local", $"192.0.2.{i + 1}", "remote", $"192.0.2.{2 - i}", "dstport", "4789"]);
                Veth.Connect(node, "veth0", containers[i], Device, $"{addresses[i]}/{PrefixLength}");
                Tool.Run("ip", ["-n", containers[i], "link", "set", Device, "mtu", mtu]);
                foreach (string end in (string[])["veth0", "vxlan0"])
                {
                    Tool.Run("ip", ["-n", node, "link", "set", end, "mtu", mtu, "master", "br0", "up"]);
                }
                Tool.Run("ip", ["-n", node, "link", "set", "br0", "up"]);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Version { get; } = File.ReadAllText("/proc/sys/kernel/osrelease").Trim();

    public override IReadOnlyList<int> Processes => [];
}
