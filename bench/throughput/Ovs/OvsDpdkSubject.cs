using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// Open vSwitch's datapath in user space with the benchmark's DPDK ports, on one bridge that learns (action NORMAL) unless a
/// derived class does otherwise. Its poll-mode threads run on the forwarding CPUs, everything else on the other one.
/// </summary>
public partial class OvsDpdkSubject(string name) : Subject(name)
{
    public const string Package = "openvswitch-switch-dpdk", Bridge = "bench";

    /// <summary>Buffers that it takes for all ports together, when there is memory for them; fewer if not.</summary>
    private const int MostBuffers = 262_144;

    private const int BytesPerBuffer = 4096;

    /// <summary>Bursts are what it was compiled for.</summary>
    private const int Burst = 32;

    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(500);

    /// <summary>The program with DPDK: where Debian puts it beside the one without. Null when there is none.</summary>
    public static string? Program { get; } = new[] { "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk" }.FirstOrDefault(File.Exists)
        ?? ProgramPath.Find("ovs-vswitchd-dpdk");

    /// <summary>
    /// Each of its ports keeps the packets of its file in buffers of the one pool that they share, the size of which is fixed; and its
    /// bursts are of one size.
    /// </summary>
    public override bool CanRun(Scenario scenario, RunSettings settings) =>
        settings.Burst >= Burst && 2 * scenario.PacketsPerPort * settings.Workers <= MostBuffers - 32_768;

    public override IDisposable Start(RunContext context, CancellationToken cancel)
    {
        RunSettings settings = context.Settings;
        string program = Program ?? throw new BenchException($"there is no Open vSwitch with DPDK: install {Package}, or leave it out with --no-peers");
        string memory = Text($"{256 + ((long)MostBuffers * BytesPerBuffer >> 20)}");
        string[] columns =
        [
            "other_config:dpdk-init=true",
            $"other_config:dpdk-extra=\"--no-pci --no-telemetry {(settings.Hugepages ? "--in-memory" : "--no-huge --legacy-mem --no-shconf --iova-mode=va")} -m {memory}\"",
            $"other_config:dpdk-lcore-mask={Mask([settings.OtherCore])}",
            $"other_config:pmd-cpu-mask={Mask(settings.Cores.Take(settings.Workers))}",
            // Flows that learning makes are one for each pair of addresses.
            "other_config:flow-limit=4000000", "other_config:max-idle=600000",
        ];
        var ovs = new OvsInstance(program, [], columns, context.Directory, ["unshare", "--net"], cancel);
        try
        {
            Version ??= VersionLines(ovs.Do(program, "--version"));
            Configure(ovs, context);
            return ovs;
        }
        catch
        {
            ovs.Dispose();
            throw;
        }
    }

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        RunSettings settings = context.Settings;
        using var ovs = (OvsInstance)Start(context, cancel);
        Settle(ovs, cancel);
        var windows = new List<Window>();
        Reading before = Read(ovs), first = before;
        while (windows.Count < settings.Seconds)
        {
            Sleep(settings.Window, cancel);
            Reading after = Read(ovs);
            if (after.Packets == before.Packets)
            {
                throw ovs.Failure("forwards nothing");
            }
            windows.Add(new Window { PacketsPerSecond = (after.Packets - before.Packets) / Stopwatch.GetElapsedTime(before.Time, after.Time).TotalSeconds });
            before = after;
        }
        return new RunResult
        {
            Windows = windows,
            CommandLine = ovs.CommandLine,
            Facts = new Dictionary<string, object> { ["upcalls"] = before.Upcalls - first.Upcalls, ["packets"] = before.Packets - first.Packets },
        };
    }

    /// <summary>Makes the bridge and its ports.</summary>
    protected virtual void Configure(OvsInstance ovs, RunContext context)
    {
        ovs.Vsctl("add-br", Bridge, "--", "set", "bridge", Bridge, "datapath_type=netdev", Text($"other_config:mac-table-size={(4 * context.Scenario.Size) + 8192}"));
        for (int i = 0; i < context.Devices.Count; i++)
        {
            ovs.Vsctl("add-port", Bridge, Text($"p{i}"), "--", "set", "interface", Text($"p{i}"), "type=dpdk",
                $"options:dpdk-devargs=\"{context.Devices[i]}\"", Text($"options:n_rxq={context.Settings.Workers}"), Text($"mtu_request={context.Scenario.Mtu}"));
        }
    }

    /// <summary>Until next to no packet needs a look at the flow tables any more.</summary>
    private static void Settle(OvsInstance ovs, CancellationToken cancel)
    {
        const int FewUpcalls = 1000; // per million packets
        long end = Environment.TickCount64 + (long)SettleTime.TotalMilliseconds;
        Sleep(Look + Look, cancel);
        for (Reading before = Read(ovs); ; Sleep(Look, cancel))
        {
            Reading now = Read(ovs);
            if (now.Packets != before.Packets && (now.Upcalls - before.Upcalls) * 1_000_000.0 / (now.Packets - before.Packets) < FewUpcalls)
            {
                return;
            }
            if (ovs.HasExited || Environment.TickCount64 > end)
            {
                throw ovs.Failure(now.Packets == before.Packets ? "forwards nothing" : "does not settle: flows are still being made");
            }
            before = now;
        }
    }

    /// <summary>What its poll-mode threads have counted.</summary>
    /// <param name="Time">When.</param>
    /// <param name="Packets">Received and forwarded.</param>
    /// <param name="Upcalls">Packets that needed a look at the flow tables.</param>
    private readonly record struct Reading(long Time, long Packets, long Upcalls);

    private static Reading Read(OvsInstance ovs)
    {
        string text = ovs.Appctl("dpif-netdev/pmd-stats-show");
        long time = Stopwatch.GetTimestamp(), received = 0, upcalls = 0, lost = 0;
        // A block for each thread; the main thread's, at the end, knows no packets of ours.
        foreach (Match match in Counter().Matches(text))
        {
            long value = long.Parse(match.Groups[2].ValueSpan, CultureInfo.InvariantCulture);
            switch (match.Groups[1].Value)
            {
                case "packets received":
                    received += value;
                    break;
                case "miss with success upcall":
                    upcalls += value;
                    break;
                default:
                    lost += value;
                    break;
            }
        }
        return new Reading(time, received - lost, upcalls + lost);
    }

    private static string VersionLines(string text) => string.Join(", ", text.Split('\n', StringSplitOptions.RemoveEmptyEntries));

    private static string Mask(IEnumerable<int> cpus) => Text($"0x{cpus.Aggregate(0ul, (mask, cpu) => mask | (1ul << cpu)):x}");

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^\s*(packets received|miss with success upcall|miss with failed upcall):\s+(\d+)", RegexOptions.Multiline)]
    private static partial Regex Counter();
}
