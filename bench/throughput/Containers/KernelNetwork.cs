using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>docker0's way: a bridge of the kernel and a veth pair for each container. The bridge has a namespace of its own.</summary>
public sealed class KernelNetwork : ContainerNetwork
{
    public const string Name = "Linux bridge + veth";

    public KernelNetwork()
    {
        string bridge = Namespaces.Create("bridge");
        try
        {
            Tool.Run("ip", ["-n", bridge, "link", "add", "br0", "type", "bridge"]);
            Tool.Run("ip", ["-n", bridge, "link", "set", "br0", "up"]);
            Veth.Connect(bridge, "veth0", First, Device, $"{FirstAddress}/{PrefixLength}");
            Veth.Connect(bridge, "veth1", Second, Device, $"{SecondAddress}/{PrefixLength}");
            foreach (string end in (string[])["veth0", "veth1"])
            {
                Tool.Run("ip", ["-n", bridge, "link", "set", end, "master", "br0", "up"]);
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
