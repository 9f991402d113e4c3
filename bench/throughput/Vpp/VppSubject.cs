using System.Globalization;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>
/// VPP on DPDK's ports: a worker on each core that forwards, everything else on another one. It takes vectors of 256 packets, which is what traffic without
/// end fills; no fewer of them can be asked for.
/// </summary>
/// <param name="name">Short, for tables.</param>
/// <param name="program">Its path.</param>
/// <param name="translator">What translates what is sent to services.</param>
/// <param name="servicesAlone">Whether it takes part only where there are services.</param>
public sealed class VppSubject(string name, string program, VppTranslator translator, bool servicesAlone) : Subject(name)
{
    public const string Program = "vpp";

    private static readonly TimeSpan s_settleTime = TimeSpan.FromSeconds(90), s_warmUp = TimeSpan.FromSeconds(1);

    /// <summary>The node where packets come from.</summary>
    internal const string Input = "dpdk-input";

    /// <summary>Of DPDK itself: its heap, where pages are ordinary ones. The packet buffers are VPP's own.</summary>
    private const int MegabytesOfDpdk = 512;

    /// <summary>A buffer on ordinary pages must lie in one of them.</summary>
    private const int MostOnOrdinaryPages = 2048;

    /// <summary>So many are asked for for each that is needed: those that would lie in two pages it leaves out.</summary>
    private const int BuffersOnOrdinaryPages = 2;

    public override string? Obstacle(Scenario scenario, RunSettings settings) =>
        scenario is not IVppWorkload workload || (servicesAlone && scenario is not IVppServiceWorkload) ? "is not set up for it"
        : workload.VppObstacle is { } obstacle ? obstacle
        : settings.Burst != RunSettings.FullBurst ? "has vectors of its own, of 256"
        : !settings.HasOtherCore ? "needs a CPU for its main thread beside those of the workers"
        : !settings.Hugepages && scenario.Packets.BufferBytes > MostOnOrdinaryPages ? "needs --hugepages for packets of this size"
        : null;

    public override IDisposable Start(RunContext context, CancellationToken cancel)
    {
        VppProcess vpp = Launch(context, cancel, out IReadOnlyList<string> ports);
        vpp.Do(ports.SelectMany(AcceptAll));
        vpp.Do(ports.Select(Up));
        return vpp;
    }

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        using VppProcess vpp = Launch(context, cancel, out IReadOnlyList<string> ports);
        if (context.Scenario is IVppServiceWorkload { FillsConnections: true } service)
        {
            vpp.Do([.. AcceptAll(ports[0]), .. ports.Skip(1).Select(Up)]);
            var time = TimeSpan.FromSeconds(context.Settings.Seconds);
            return new RunResult
            {
                Windows = VppConnections.Measure(vpp, translator, service, ports, context.Scenario.Size, context.FilledAt, time, cancel),
                CommandLine = vpp.CommandLine,
                Facts = new Dictionary<string, object> { ["counted"] = VppOutput.Errors(vpp.Ask("show errors")) },
            };
        }
        Settle(vpp, context, ports, cancel);
        return Measure(vpp, context, ports, cancel);
    }

    /// <summary>
    /// Traffic on all ports, and all is learned. Of services only the clients' is taken until all connections are there: who answers one that is not begins
    /// another one.
    /// </summary>
    private void Settle(VppProcess vpp, RunContext context, IReadOnlyList<string> ports, CancellationToken cancel)
    {
        var service = context.Scenario as IVppServiceWorkload;
        vpp.Do((service is null ? ports : ports.Take(1)).SelectMany(AcceptAll));
        vpp.Do(ports.Select(Up));
        if (service is not null)
        {
            Await(() => translator.Connections(vpp) >= context.Scenario.Size);
            vpp.Do(ports.Skip(1).SelectMany(AcceptAll));
        }
        Await(() => ((IVppWorkload)context.Scenario).IsSettled(vpp));
        Sleep(s_warmUp, cancel);
        if (service is not null)
        {
            VppCheck.Translated(vpp, service, ports, command: null, cancel);
        }

        void Await(Func<bool> condition)
        {
            for (long end = Environment.TickCount64 + (long)s_settleTime.TotalMilliseconds; !condition(); Sleep(TimeSpan.FromMilliseconds(100), cancel))
            {
                if (Environment.TickCount64 > end)
                {
                    throw vpp.Failure($"did not settle: {VppReading.Errors(vpp)}");
                }
            }
        }
    }

    private static RunResult Measure(VppProcess vpp, RunContext context, IReadOnlyList<string> ports, CancellationToken cancel)
    {
        var windows = new List<Window>();
        int count = (int)(TimeSpan.FromSeconds(context.Settings.Seconds) / context.Settings.Window);
        double vectors = 0, packets = 0;
        vpp.Ask("clear errors");
        for (int i = 0; i < count; i++)
        {
            vpp.Ask("clear runtime");
            VppReading before = VppReading.Of(vpp, ports);
            Sleep(context.Settings.Window, cancel);
            VppReading after = VppReading.Of(vpp, ports);
            IReadOnlyList<VppNode> nodes = VppOutput.Nodes(vpp.Ask("show runtime"));
            windows.Add(Between(vpp, before, after, nodes, [Input, .. ports.Select(Output)]));
            IEnumerable<VppNode> outputs = nodes.Where(n => ports.Select(Output).Contains(n.Name));
            (vectors, packets) = (vectors + outputs.Sum(n => (double)n.Calls), packets + outputs.Sum(n => (double)n.Packets));
        }
        return new RunResult
        {
            Windows = windows,
            CommandLine = vpp.CommandLine,
            Facts = new Dictionary<string, object> { ["packetsPerVector"] = packets / vectors, ["counted"] = VppOutput.Errors(vpp.Ask("show errors")) },
        };
    }

    private static Window Between(VppProcess vpp, VppReading before, VppReading after, IReadOnlyList<VppNode> nodes, IReadOnlyList<string> drivers)
    {
        double packets = nodes.Where(n => n.Name == Input).Sum(n => (double)n.Packets);
        return new Window
        {
            PacketsPerSecond = VppReading.Rate(vpp, before, after),
            BusyClocks = Clocks(_ => true),
            StageClocks = Clocks(node => !drivers.Contains(node.Name)),
        };

        double Clocks(Func<VppNode, bool> which) => nodes.Where(which).Sum(n => n.Clocks * n.Packets) / packets;
    }

    /// <summary>The node that sends by a port.</summary>
    internal static string Output(string port) => $"{port}-tx";

    internal static string Up(string port) => $"set interface state {port} up";

    internal static string Down(string port) => $"set interface state {port} down";

    /// <summary>VPP, set up for the workload, its ports down.</summary>
    private VppProcess Launch(RunContext context, CancellationToken cancel, out IReadOnlyList<string> ports)
    {
        var workload = (IVppWorkload)context.Scenario;
        var service = workload as IVppServiceWorkload;
        IEnumerable<string> sections = service is null ? [] : translator.Sections(service);
        var vpp = new VppProcess(program, [.. Sections(context), .. workload.VppSections, .. sections], context.Directory, cancel);
        try
        {
            // "vpp v26.06-release built by ..."
            Version ??= vpp.Ask("show version").Split(' ', StringSplitOptions.RemoveEmptyEntries).ElementAtOrDefault(1);
            ports = [.. VppOutput.Interfaces(vpp.Ask("show interface")).Select(i => i.Name)];
            if (ports.Count != context.Devices.Count)
            {
                throw vpp.Failure($"has {ports.Count} of {context.Devices.Count} ports");
            }
            vpp.Do(workload.VppCommands(ports));
            if (service is not null)
            {
                vpp.Do(translator.Commands(service, ports));
            }
            return vpp;
        }
        catch
        {
            vpp.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Takes packets to whatever address, without looking at it, as from a network card that filters. It thinks that ports of DPDK do so, but acts on it only
    /// when it is told anew that they shall.
    /// </summary>
    private static IEnumerable<string> AcceptAll(string port) => [$"set interface promiscuous on {port}", $"set interface promiscuous off {port}"];

    private static IEnumerable<string> Sections(RunContext context)
    {
        RunSettings settings = context.Settings;
        string pages = settings.Hugepages ? "" : Text($"no-hugetlb no-shconf mem-alloc-request {MegabytesOfDpdk} ");
        return
        [
            Text($"cpu {{ main-core {settings.OtherCore} corelist-workers {string.Join(',', settings.WorkerCores)} }}"),
            "memory { main-heap-size 4G }",
            "statseg { size 1G }",
            Text($"buffers {{ buffers-per-numa {(settings.Hugepages ? 1 : BuffersOnOrdinaryPages) * context.Buffers} default data-size {context.Scenario.Packets.BufferBytes} page-size {(settings.Hugepages ? "default-hugepage" : "default")} }}"),
            "plugins { plugin default { disable } plugin dpdk_plugin.so { enable } plugin vxlan_plugin.so { enable } plugin nat_plugin.so { enable } plugin cnat_plugin.so { enable } }",
            Text($"dpdk {{ no-pci {pages}dev default {{ num-rx-queues {settings.Workers} }} {string.Join(' ', context.Devices.Select(device => $"vdev {device}"))} }}"),
        ];
    }

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
