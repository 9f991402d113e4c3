using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>The start: before a run, and alone for benchmarks that send by themselves.</summary>
public sealed partial class OvsDpdkSubject
{
    public override IDisposable Start(RunContext context, CancellationToken cancel) => Launch(context, cancel);

    /// <summary>Open vSwitch, set up for the workload.</summary>
    private OvsProcess Launch(RunContext context, CancellationToken cancel)
    {
        RunSettings settings = context.Settings;
        var ovs = new OvsProcess(context.Directory, cancel);
        try
        {
            int megabytes = context.MemoryMegabytes + MegabytesOfBuffers;
            // "--legacy-mem" is what --no-huge comes to; said, or it would be told "--in-memory", which excludes that.
            string pages = settings.Hugepages ? "" : " --no-huge --legacy-mem";
            // Of network cards none but those that a port asks for: an allow list with a device that cannot be one.
            string cards = context.HasCards ? "-a 0000:00:00.0" : "--no-pci";
            ovs.Configure("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                Text($"other_config:dpdk-extra=\"{cards} --no-telemetry -m {megabytes}{pages}\""),
                Text($"other_config:dpdk-lcore-mask=0x{1ul << settings.OtherCore:x}"), Text($"other_config:pmd-cpu-mask=0x{settings.WorkerCores.Aggregate(0ul, (mask, core) => mask | (1ul << core)):x}"));
            ovs.Start(_program, ownNetwork: true);
            WaitForDpdk(ovs, cancel);
            // The database knows only what a start script has told it.
            Version ??= $"{ovs.Do(_program, "--version").Split('\n')[0].Split(' ')[^1]}, {ovs.Configure("get", "Open_vSwitch", ".", "dpdk_version").Trim().Trim('"')}";
            ((IOvsWorkload)context.Scenario).Configure(ovs, [.. context.Devices.Select(device => new OvsDevice(device, context.Scenario.Mtu, [.. settings.WorkerCores]))]);
            return ovs;
        }
        catch
        {
            ovs.Dispose();
            throw;
        }
    }
}
