using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Ovs;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Open vSwitch's datapath in user space (no DPDK), with a veth pair for each container.</summary>
public sealed class OvsNetwork : ContainerNetwork
{
    public const string Name = "OVS userspace";

    private const string Bridge = "bench";

    private readonly OvsProcess? _ovs;

    public OvsNetwork(string directory, CancellationToken cancel)
    {
        try
        {
            _ovs = new OvsProcess(directory, cancel);
            _ovs.Start(OvsProcess.Find(OvsProcess.Program), ownNetwork: true);
            _ovs.WaitForFile(_ovs.FileOf("switch.ctl"), _ovs.Switch);
            string pid = _ovs.Switch.Id.ToString(CultureInfo.InvariantCulture);
            foreach ((string container, string end, string address) in new[] { (First, "veth0", FirstAddress), (Second, "veth1", SecondAddress) })
            {
                Veth.Connect(pid, end, container, Device, $"{address}/{PrefixLength}");
                _ovs.Inside("ip", "link", "set", end, "up");
                // This datapath passes a checksum that is still to be completed on as it is, and the other end would drop the packet.
                Tool.Run("ip", ["netns", "exec", container, "ethtool", "-K", Device, "tx", "off"]);
            }
            Version = _ovs.Configure("get", "Open_vSwitch", ".", "ovs_version").Trim().Trim('"');
            _ovs.Configure("add-br", Bridge, "--", "set", "bridge", Bridge, "datapath_type=netdev", "--", "add-port", Bridge, "veth0", "--", "add-port", Bridge, "veth1");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Version { get; } = "";

    public override IReadOnlyList<int> Processes => [_ovs!.Switch.Id];

    public override void Dispose()
    {
        _ovs?.Dispose();
        base.Dispose();
    }
}
