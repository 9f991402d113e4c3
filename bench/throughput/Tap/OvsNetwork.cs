using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Ovs;

namespace Dataplane.ThroughputBench.Tap;

/// <summary>Open vSwitch's datapath in user space (no DPDK), with a veth pair for each container.</summary>
public sealed class OvsNetwork : ContainerNetwork
{
    public const string Name = "OVS userspace";

    private const string Bridge = "bench";

    private readonly OvsInstance? _ovs;

    public OvsNetwork(string directory, CancellationToken cancel)
    {
        try
        {
            string ns = Namespaces.Create("ovs");
            Veth.Connect(ns, "veth0", First, Device, $"{FirstAddress}/{PrefixLength}");
            Veth.Connect(ns, "veth1", Second, Device, $"{SecondAddress}/{PrefixLength}");
            foreach (string container in (string[])[First, Second])
            {
                // This datapath passes a checksum that is still to be completed on as it is, and the other end would drop the packet.
                Tool.Run("ip", ["netns", "exec", container, "ethtool", "-K", Device, "tx", "off"]);
            }
            _ovs = new OvsInstance(OvsInstance.Program, [], [], directory, ["ip", "netns", "exec", ns], cancel);
            Version = _ovs.Do(OvsInstance.Program, "--version").Split('\n')[0];
            _ovs.Vsctl("add-br", Bridge, "--", "set", "bridge", Bridge, "datapath_type=netdev", "--", "add-port", Bridge, "veth0", "--", "add-port", Bridge, "veth1");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Version { get; } = "";

    public override IReadOnlyList<int> Processes => [_ovs!.Id];

    public override void Dispose()
    {
        _ovs?.Dispose();
        base.Dispose();
    }
}
