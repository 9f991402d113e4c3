using System.Globalization;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>One of DPDK's devices, as Open vSwitch is told of it.</summary>
/// <param name="Arguments">As DPDK takes it.</param>
/// <param name="Mtu">In bytes.</param>
/// <param name="Cores">CPUs of the polling threads: each polls one of its queues, the first the first.</param>
public sealed record OvsDevice(string Arguments, ushort Mtu, IReadOnlyList<int> Cores)
{
    /// <summary>The arguments of <c>ovs-vsctl</c> that make a port of a bridge of it. What follows sets more of its interface.</summary>
    public string[] AddTo(string bridge, string name) =>
    [
        "--", "add-port", bridge, name, "--", "set", "interface", name, "type=dpdk", $"options:dpdk-devargs=\"{Arguments}\"", Text($"mtu_request={Mtu}"),
        .. Cores.Count == 1 ? Array.Empty<string>() : [Text($"options:n_rxq={Cores.Count}"), $"other_config:pmd-rxq-affinity=\"{string.Join(',', Cores.Select((core, i) => Text($"{i}:{core}")))}\""],
    ];

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
