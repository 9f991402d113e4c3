using System.Globalization;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>The bridge with no more addresses than Open vSwitch can take part with: its ports keep the packets of their files in buffers of a pool of fixed size.</summary>
public sealed class SharedBridgeScenario(int addresses, PacketSizes packets) : BridgeScenario(addresses, packets), IOvsWorkload
{
    /// <summary>Most addresses on each side.</summary>
    public const int MostAddresses = 100_000;

    private const string OvsBridge = "bench";

    /// <summary>One bridge that learns (action NORMAL). Flows that learning makes are one for each pair of addresses.</summary>
    public void Configure(OvsProcess ovs, IReadOnlyList<OvsDevice> devices) => ovs.Configure(
    [
        "set", "Open_vSwitch", ".", "other_config:flow-limit=4000000", "other_config:max-idle=600000",
        "--", "add-br", OvsBridge, "--", "set", "bridge", OvsBridge, "datapath_type=netdev", Text($"other_config:mac-table-size={(4 * Size) + 8192}"),
        .. devices.SelectMany((device, i) => device.AddTo(OvsBridge, Text($"p{i}"))),
    ]);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
