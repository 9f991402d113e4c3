using System.Globalization;
using System.Text.RegularExpressions;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// Open vSwitch with its datapath in user space on DPDK's ports: a polling thread on each core that forwards, for the same queues as our worker there, everything
/// else on the other. Its caches are filled before it is measured.
/// </summary>
public sealed partial class OvsDpdkSubject : Subject
{
    public const string SubjectName = "Open vSwitch";
    public const string Package = "openvswitch-switch-dpdk";

    /// <summary>The packet buffers it takes of its own accord: 262,144, each on a page of its own where pages are ordinary ones.</summary>
    private const int MegabytesOfBuffers = 1100;

    /// <summary>Packets in the files of all ports: each keeps its own in buffers of that pool.</summary>
    public const int MostPackets = 200_000;

    /// <summary>Where Debian puts it beside the program without DPDK.</summary>
    private const string Debian = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk";

    private static readonly TimeSpan StartTime = TimeSpan.FromSeconds(60), SettleTime = TimeSpan.FromSeconds(90);

    private readonly string _program;

    public OvsDpdkSubject() : base(SubjectName)
    {
        _program = File.Exists(Debian) ? Debian : OvsProcess.Find(OvsProcess.Program);
        if (LinuxProcess.EffectiveUserId != 0)
        {
            throw new BenchException("Open vSwitch needs a network namespace of its own: run it as root, or leave it out with --no-peers");
        }
    }

    public override string? Obstacle(Scenario scenario, RunSettings settings) =>
        scenario is not IOvsWorkload workload ? "is not set up for it"
        : workload.OvsObstacle is { } obstacle ? obstacle
        : settings.Burst != RunSettings.FullBurst ? "has bursts of its own, of 32"
        : null;

    /// <summary>One for the thread that polls, one for the main thread.</summary>
    public override int TxQueues => 2;

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        using OvsProcess ovs = Launch(context, cancel);
        RunSettings settings = context.Settings;
        WaitForCaches(ovs, cancel);
        var workload = (IOvsWorkload)context.Scenario;
        if (context.Scenario.FillsConnections)
        {
            return new RunResult { Windows = OvsConnections.Measure(ovs, context.FilledAt, TimeSpan.FromSeconds(settings.Seconds), cancel), CommandLine = ovs.Switch.CommandLine };
        }
        for (long end = Environment.TickCount64 + (long)SettleTime.TotalMilliseconds; !workload.IsSettled(ovs) && Environment.TickCount64 < end;)
        {
            Sleep(TimeSpan.FromMilliseconds(100), cancel);
        }

        var windows = new List<Window>();
        int count = (int)(TimeSpan.FromSeconds(settings.Seconds) / settings.Window);
        Reading before = Read(ovs);
        for (int i = 0; i < count; i++)
        {
            Sleep(settings.Window, cancel);
            Reading after = Read(ovs);
            double received = after.Received - before.Received;
            windows.Add(new Window
            {
                PacketsPerSecond = (after.Sent - before.Sent) / (after.Time - before.Time).TotalSeconds,
                BusyClocks = received > 0 ? (after.Busy - before.Busy) / received : null,
            });
            before = after;
        }
        if (windows.Any(w => w.PacketsPerSecond <= 0))
        {
            throw ovs.Switch.Failure("forwards nothing");
        }
        return new RunResult
        {
            Windows = windows,
            CommandLine = ovs.Switch.CommandLine,
            Facts = new Dictionary<string, object> { ["upcalls"] = before.Upcalls, ["polling"] = ovs.Ask("dpif-netdev/pmd-stats-show").Trim().Split('\n') },
        };
    }

    /// <summary>Its counters at one moment.</summary>
    private readonly record struct Reading(TimeSpan Time, ulong Received, ulong Sent, ulong Busy, ulong Upcalls);

    private static Reading Read(OvsProcess ovs)
    {
        string polling = ovs.Ask("dpif-netdev/pmd-stats-show");
        string ports = ovs.Ask("dpctl/show", "-s");
        TimeSpan time = TimeSpan.FromMilliseconds(Environment.TickCount64);
        // The threads that poll come first, the main thread last.
        int main = polling.IndexOf("main thread", StringComparison.Ordinal);
        string pmd = main < 0 ? polling : polling[..main];
        return new Reading(time, Sum(Received(), pmd), Sum(SentByDpdk(), ports), Sum(Busy(), pmd), Sum(Upcall(), pmd));
    }

    private static ulong Sum(Regex number, string text) =>
        number.Matches(text).Aggregate(0ul, (sum, match) => sum + ulong.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture));

    private static void WaitForDpdk(OvsProcess ovs, CancellationToken cancel)
    {
        for (long end = Environment.TickCount64 + (long)StartTime.TotalMilliseconds; ;)
        {
            Sleep(TimeSpan.FromMilliseconds(100), cancel);
            if (ovs.Switch.HasExited || Environment.TickCount64 > end)
            {
                throw ovs.Switch.Failure("did not start DPDK");
            }
            if (ovs.Configure("get", "Open_vSwitch", ".", "dpdk_initialized").Trim() == "true")
            {
                return;
            }
        }
    }

    /// <summary>Packets of flows that it has not met yet go through another thread: until there are next to none of them.</summary>
    private static void WaitForCaches(OvsProcess ovs, CancellationToken cancel)
    {
        Reading before = Read(ovs);
        for (long end = Environment.TickCount64 + (long)SettleTime.TotalMilliseconds; Environment.TickCount64 < end;)
        {
            Sleep(TimeSpan.FromSeconds(1), cancel);
            Reading after = Read(ovs);
            if (after.Sent > before.Sent && after.Upcalls - before.Upcalls <= (after.Received - before.Received) / 10_000)
            {
                return;
            }
            before = after;
        }
        // What it does then is what it does with so many flows.
    }

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"packets received: (\d+)")]
    private static partial Regex Received();

    [GeneratedRegex(@"processing cycles: (\d+)")]
    private static partial Regex Busy();

    [GeneratedRegex(@"miss with (?:success|failed) upcall: (\d+)")]
    private static partial Regex Upcall();

    [GeneratedRegex(@"\(dpdk:[^\n]*\n[^\n]*\n\s*TX packets:(\d+)")]
    private static partial Regex SentByDpdk();
}
