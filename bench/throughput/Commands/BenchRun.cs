using System.Globalization;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Ovs;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Subjects;
using Dataplane.ThroughputBench.Vpp;
using Spectre.Console;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>What the benchmarks of one run share: what the user asked of all of them, where files go, and the report that grows.</summary>
internal sealed class BenchRun
{
    private readonly SortedDictionary<string, string> _versions = [];
    private readonly List<Section> _sections = [];
    private readonly int[] _usable;

    public BenchRun(CommonValues options, WorkDirectory work, CancellationToken cancel)
    {
        Options = options;
        Work = work;
        Cancel = cancel;
        int[] usable = CpuAffinity.Get();
        if (options.Cores.Except(usable).ToArray() is { Length: > 0 } missing)
        {
            throw new BenchException($"CPU {CpuAffinity.Format([.. missing.Order()])} cannot be used; these can: {CpuAffinity.Format(usable)}");
        }
        Cores = options.Cores.Count > 0 ? options.Cores : [.. usable.Reverse()];
        _usable = usable;
        DpdkLibrary.Load();
        TscHz = MachineInfo.MeasureTsc();
        if (OtherCore == Cores[0])
        {
            AnsiConsole.MarkupLine("[yellow]There is only one CPU to use: what else runs disturbs the measurement.[/]");
        }
    }

    public CommonValues Options { get; }
    public WorkDirectory Work { get; }
    public CancellationToken Cancel { get; }

    /// <summary>CPUs that forward, in the order in which workers get them.</summary>
    public IReadOnlyList<int> Cores { get; }

    /// <summary>A CPU for everything else, beside one worker.</summary>
    public int OtherCore => Settings.OtherCore;

    /// <summary>Frequency of the time-stamp counter in Hz.</summary>
    public ulong TscHz { get; }

    public IReadOnlyDictionary<string, string> Versions => _versions;
    public IReadOnlyList<Section> Sections => _sections;

    /// <summary>How forwarding programs are run, unless a point says otherwise.</summary>
    public RunSettings Settings => new()
    {
        Runs = Options.Runs,
        Seconds = Options.Seconds,
        Window = Options.Window,
        Cores = Cores,
        Cpus = _usable,
        Hugepages = Options.Hugepages,
    };

    /// <summary>Notes the version of a measured program.</summary>
    public void Version(string program, string version) => _versions[program] = version;

    /// <summary>Adds to the report, and shows it.</summary>
    public void Add(Section section)
    {
        _sections.Add(section);
        TerminalReport.Write(section);
    }

    /// <summary>One line while the benchmark goes on.</summary>
    public static void Progress(FormattableString text) => Console.WriteLine(text.ToString(CultureInfo.InvariantCulture));

    /// <summary>Our engines: the one that was built, or those that the user named.</summary>
    public IReadOnlyList<EngineSubject> Engines()
    {
        string standard = Environment.GetEnvironmentVariable("DATAPLANE_ENGINE") is { Length: > 0 } path
            ? path
            : Path.Combine(Repository.Root, "out", "engine", "dataplane-engine");
        var engines = new List<EngineSubject>();
        foreach (string text in Options.Engines.Count == 0 ? [$"dataplane={standard}"] : Options.Engines)
        {
            int equals = text.IndexOf('=', StringComparison.Ordinal);
            string program = text[(equals + 1)..];
            string name = equals > 0 ? text[..equals] : $"dataplane {engines.Count + 1}";
            if (!File.Exists(program))
            {
                throw new BenchException($"there is no engine at {program}: build it with `./build.sh build`, or name it with --engine");
            }
            engines.Add(new EngineSubject(name, Path.GetFullPath(program)));
        }
        return engines;
    }

    /// <summary>testpmd in a forwarding mode.</summary>
    public static TestpmdSubject Testpmd(string mode)
    {
        string program = ProgramPath.Find(TestpmdSubject.Program) ?? throw new BenchException(
            $"{TestpmdSubject.Program} is missing, which the engine is compared with. Install it with `./build.sh setup bench` "
            + $"(package {TestpmdSubject.Package}), or measure the engine alone with --no-peers");
        return new TestpmdSubject(program, mode);
    }

    /// <summary>Open vSwitch with DPDK, when it is installed and can be run: it needs a network namespace, which only root makes.</summary>
    public static IEnumerable<Subject> Ovs()
    {
        if (ProgramPath.Find(OvsProcess.Program) is null)
        {
            Progress($"Open vSwitch with DPDK is not installed (package {OvsDpdkSubject.Package}): left out.");
            return [];
        }
        if (LinuxProcess.EffectiveUserId != 0)
        {
            Progress($"Open vSwitch needs a network namespace, and that needs root: left out.");
            return [];
        }
        return [new OvsDpdkSubject()];
    }

    /// <summary>VPP, when there is one: Debian has no package of it. Services it translates by NAT44 and, as a subject of its own, by cnat.</summary>
    public static IEnumerable<Subject> Vpp()
    {
        if (ProgramPath.Find(VppSubject.Program) is not { } program)
        {
            Progress($"There is no {VppSubject.Program} on the path: left out.");
            return [];
        }
        return [new VppSubject("VPP", program, new VppNat44(), servicesAlone: false), new VppSubject("VPP cnat", program, new VppCnat(), servicesAlone: true)];
    }

    /// <summary>Runs the subjects in turn at each point, and adds what they came to.</summary>
    /// <param name="title">What is measured.</param>
    /// <param name="subjects">Ours first.</param>
    /// <param name="points">Workloads and settings.</param>
    public void Forward(string title, IReadOnlyList<Subject> subjects, IReadOnlyList<Point> points)
    {
        if (subjects.Any(s => s is not EngineSubject) && Options.Window != TimeSpan.FromSeconds(1))
        {
            throw new BenchException("--window needs --no-peers: other programs tell their rate once per second");
        }
        points = Spreadable(points);
        string[] leftOut = [.. LeftOut(subjects, points)];
        foreach (string line in leftOut)
        {
            Progress($"{line}");
        }
        using Hugepages? pages = Options.Hugepages
            ? new Hugepages(points.Max(point => point.Scenario.MemoryMegabytes(point.Settings.Workers, hugepages: true)), Options.ReserveHugepages)
            : null;
        var interleaved = new Interleaved(subjects, Work);
        int all = points.Sum(point => point.Settings.Runs * subjects.Count(s => s.Obstacle(point.Scenario, point.Settings) is null)), done = 0;
        var results = new List<PointResult>();
        foreach (Point point in points)
        {
            results.Add(interleaved.Run(point, (subject, run, result) => Show(point, subject, run, result, ++done, all), Cancel));
        }
        foreach (Subject subject in subjects.Where(s => s.Version is not null))
        {
            Version(subject.Name, subject.Version!);
        }
        Add(ForwardingSection.Of(title, TscHz, results) with { Notes = leftOut });
    }

    /// <summary>The points whose flows are enough for all queues.</summary>
    private static List<Point> Spreadable(IReadOnlyList<Point> points)
    {
        List<Point> those = [];
        foreach (Point point in points)
        {
            if (point.Scenario.FlowsPerPort >= point.Settings.Workers)
            {
                those.Add(point);
            }
            else
            {
                Progress($"{point.Label}: too few flows to be spread over the queues of {point.Settings.Workers} workers: left out.");
            }
        }
        return those.Count > 0 ? those : throw new BenchException("nothing is left to be measured");
    }

    /// <summary>Who takes no part where, and why.</summary>
    private static IEnumerable<string> LeftOut(IReadOnlyList<Subject> subjects, IReadOnlyList<Point> points) =>
        from subject in subjects
        from point in points
        let why = subject.Obstacle(point.Scenario, point.Settings)
        where why is not null
        group point.Label by (subject.Name, why) into labels
        select $"{labels.Key.Name} {labels.Key.why}: left out{(labels.Count() == points.Count ? "" : $" of {string.Join("; ", labels)}")}.";

    private static void Show(Point point, Subject subject, int run, RunResult result, int done, int all)
    {
        Window best = result.Windows.MaxBy(w => w.PacketsPerSecond)!;
        string stage = best.StageClocks is { } clocks ? string.Create(CultureInfo.InvariantCulture, $", stages {clocks:0.0} clocks") : "";
        Progress($"[{done}/{all}] {point.Scenario.Name}, {point.Label,-14} run {run}/{point.Settings.Runs}  {subject.Name,-18} {best.PacketsPerSecond / 1e6,6:0.00} Mpps{stage}");
    }
}
