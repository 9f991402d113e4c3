using System.Globalization;
using System.Text.Json;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Kernel;

/// <summary>
/// Linux with nftables, as kube-proxy uses it: DNAT and conntrack, in a namespace. Packets come in by veth pairs from a sender on another CPU, and are
/// all worked on by one (receive packet steering); they leave by <c>ifb</c> devices, which count and throw away. Its checksum verification is off, which a
/// network card would spare it.
/// </summary>
/// <param name="tscHz">Frequency of the time-stamp counter.</param>
public sealed class NftablesSubject(ulong tscHz) : Subject("Linux nftables")
{
    /// <summary>How many connections there may be is the whole machine's setting; this much is usual.</summary>
    private const int MostConnections = 262_144;

    private const int TicksPerSecond = 100;
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(3);

    public override string? Obstacle(Scenario scenario, RunSettings settings) =>
        scenario is not IKernelWorkload workload ? "is not set up for it"
        : workload.KernelObstacle(MostConnections) is { } obstacle ? obstacle
        : settings.Burst != RunSettings.FullBurst ? "has bursts of its own"
        : settings.Workers != 1 ? "works on one CPU here"
        : null;

    public override IDisposable Start(RunContext context, CancellationToken cancel) => throw new NotSupportedException("Linux has no DPDK ports");

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        var workload = (IKernelWorkload)context.Scenario;
        RunSettings settings = context.Settings;
        Version ??= File.ReadAllText("/proc/sys/kernel/osrelease").Trim();
        using var namespaces = new BenchNamespaces();
        string router = namespaces.Create("router"), world = namespaces.Create("world");
        Configure(workload, router, world, settings.Cores[0], context);
        using var replay = new FrameReplay(namespaces[world], [.. context.Traffic.Select((path, i) => (In(i), path))], settings.OtherCore);
        Sleep(SettleTime, cancel);
        var windows = new List<Window>();
        Reading first = Read(namespaces[router], router, settings.Cores[0]), before = first;
        for (int i = 0; i < settings.Seconds; i++)
        {
            Sleep(settings.Window, cancel);
            Reading after = Read(namespaces[router], router, settings.Cores[0]);
            double packets = after.Packets - before.Packets;
            windows.Add(new Window
            {
                PacketsPerSecond = packets / (after.Time - before.Time).TotalSeconds,
                BusyClocks = packets > 0 ? (after.Busy - before.Busy).TotalSeconds * tscHz / packets : null,
            });
            before = after;
        }
        if (windows.Count == 0 || windows.Any(w => w.PacketsPerSecond <= 0))
        {
            throw new BenchException("Linux forwards nothing");
        }
        return new RunResult
        {
            Windows = windows,
            CommandLine = $"nft -f - <<< '{workload.Rules}'",
            Facts = new Dictionary<string, object>
            {
                ["connections"] = before.Connections, ["sent"] = replay.Sent,
                ["busyShare"] = (before.Busy - first.Busy) / (before.Time - first.Time),
            },
        };
    }

    private static string In(int port) => Text($"in{port}");

    private static string Out(int port) => Text($"out{port}");

    private static void Configure(IKernelWorkload workload, string router, string world, int cpu, RunContext context)
    {
        string mtu = Text($"{context.Scenario.Mtu}");
        Inside(router, "sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.rp_filter=0", "net.ipv4.conf.default.rp_filter=0",
            "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1");
        Inside(world, "sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1");
        for (int i = 0; i < workload.Links.Count; i++)
        {
            KernelLink link = workload.Links[i];
            Ip(router, "link", "add", In(i), "address", link.Mac, "mtu", mtu, "type", "veth", "peer", "name", In(i), "mtu", mtu, "netns", world);
            Ip(world, "link", "set", In(i), "up");
            Ip(router, "link", "set", In(i), "up");
            Ip(router, "link", "add", Out(i), "mtu", mtu, "type", "ifb");
            Ip(router, "addr", "add", link.Address, "dev", Out(i));
            Ip(router, "link", "set", Out(i), "up");
            Inside(router, "tc", "qdisc", "replace", "dev", Out(i), "root", "noqueue");
            Ip(router, "neigh", "add", link.Peer, "lladdr", link.PeerMac, "dev", Out(i), "nud", "permanent");
            Ip(router, "route", "add", link.Behind, "via", link.Peer, "dev", Out(i));
            // The namespace's own view of /sys, which ip-netns makes.
            Tool.Run("ip", ["netns", "exec", router, "sh", "-c", Text($"printf %x {1ul << cpu} >/sys/class/net/{In(i)}/queues/rx-0/rps_cpus")]);
        }
        string rules = Path.Combine(context.Directory, "rules.nft");
        File.WriteAllText(rules, workload.Rules);
        Inside(router, "nft", "-f", rules);
        Inside(router, "sysctl", "-qw", "net.netfilter.nf_conntrack_checksum=0");
    }

    /// <summary>What has been done at one moment.</summary>
    private readonly record struct Reading(TimeSpan Time, long Packets, long Connections, TimeSpan Busy);

    private static Reading Read(NetNs ns, string router, int cpu)
    {
        using JsonDocument links = JsonDocument.Parse(Tool.Run("ip", ["-n", router, "-j", "-s", "link", "show", "type", "ifb"]));
        long packets = links.RootElement.EnumerateArray().Sum(link => link.GetProperty("stats64").GetProperty("rx").GetProperty("packets").GetInt64());
        long connections = ns.Run(() => long.Parse(File.ReadAllText("/proc/sys/net/netfilter/nf_conntrack_count"), CultureInfo.InvariantCulture));
        // user nice system idle iowait irq softirq steal
        long[] ticks =
        [
            .. File.ReadLines("/proc/stat").First(line => line.StartsWith(Text($"cpu{cpu} "), StringComparison.Ordinal)).Split(' ')[1..9]
                .Select(text => long.Parse(text, CultureInfo.InvariantCulture)),
        ];
        long busy = ticks.Sum() - ticks[3] - ticks[4];
        return new Reading(TimeSpan.FromMilliseconds(Environment.TickCount64), packets, connections, TimeSpan.FromSeconds((double)busy / TicksPerSecond));
    }

    private static void Ip(string ns, params string[] arguments) => Tool.Run("ip", ["-n", ns, .. arguments]);

    private static void Inside(string ns, params string[] command) => Tool.Run("ip", ["netns", "exec", ns, .. command]);

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
