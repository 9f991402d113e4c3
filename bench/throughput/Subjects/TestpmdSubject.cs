using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>
/// DPDK's own test program, in a forwarding mode that knows where each packet goes: <c>io</c> does not look at packets at all (what
/// the ports alone cost), <c>macswap</c> exchanges the two addresses of each.
/// </summary>
public sealed class TestpmdSubject(string program, string mode) : Subject($"testpmd {mode}")
{
    public const string Program = "dpdk-testpmd";
    public const string Package = "dpdk-dev";

    /// <summary>Its start, with a large memory area to prepare, must not take longer than this before it says something.</summary>
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>The first figure covers no time, the second the start.</summary>
    private const int WarmUpFigures = 2;

    public override IDisposable Start(RunContext context, CancellationToken cancel)
    {
        var process = new ChildProcess(program, Arguments(context), context.Directory);
        try
        {
            var parser = new TestpmdOutput(context.Devices.Count);
            while (!parser.Take(process.ReadLine(Patience, cancel) ?? throw process.Failure("did not start"), out _))
            {
            }
            Version ??= parser.Version;
            return process;
        }
        catch
        {
            process.Dispose();
            throw;
        }
    }

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        using var process = new ChildProcess(program, Arguments(context), context.Directory);
        var parser = new TestpmdOutput(context.Devices.Count);
        var windows = new List<Window>();
        int figures = 0;
        while (windows.Count < context.Settings.Seconds)
        {
            string line = process.ReadLine(Patience, cancel) ?? throw process.Failure("ended before it was measured");
            if (parser.Take(line, out double packetsPerSecond) && ++figures > WarmUpFigures)
            {
                if (packetsPerSecond == 0)
                {
                    throw process.Failure("forwards nothing");
                }
                windows.Add(new Window { PacketsPerSecond = packetsPerSecond });
            }
        }
        Version ??= parser.Version;
        return new RunResult { Windows = windows, CommandLine = process.CommandLine };
    }

    private List<string> Arguments(RunContext context)
    {
        RunSettings settings = context.Settings;
        // Lcore 0 prints, the others forward.
        IEnumerable<string> lcores = settings.Cores.Take(settings.Workers).Select((core, i) => Text($"{i + 1}@{core}"));
        List<string> arguments =
        [
            "-v", "--no-telemetry",
            "--lcores", string.Join(',', lcores.Prepend(Text($"0@{settings.OtherCore}"))), "--main-lcore", "0",
            "-m", Text($"{context.MemoryMegabytes}"),
        ];
        // In memory: nothing stays behind in hugetlbfs, however it ends. EAL does not allow that without hugepages.
        arguments.AddRange(settings.Hugepages ? ["--in-memory"] : ["--no-huge", "--no-shconf"]);
        if (!context.HasCards)
        {
            arguments.Add("--no-pci");
        }
        foreach (string device in context.Devices)
        {
            arguments.AddRange(PciAddress.OfDevargs(device) is null ? "--vdev" : "--allow", device);
        }
        arguments.AddRange(
            "--", $"--forward-mode={mode}", Text($"--burst={settings.Burst}"), Text($"--nb-cores={settings.Workers}"),
            Text($"--rxq={settings.Workers}"), Text($"--txq={settings.Workers}"),
            Text($"--total-num-mbufs={context.Buffers}"), "--auto-start", "--stats-period=1");
        if (context.Scenario.Packets.BufferBytes != PacketSizes.Smallest.BufferBytes)
        {
            const int Headroom = 128;
            arguments.Add(Text($"--mbuf-size={context.Scenario.Packets.BufferBytes + Headroom}"));
            arguments.Add(Text($"--max-pkt-len={context.Scenario.Mtu + 18}"));
        }
        return arguments;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
