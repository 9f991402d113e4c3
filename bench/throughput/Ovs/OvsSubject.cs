using System.Diagnostics;
using System.Globalization;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// Open vSwitch, started in a private directory with sockets of its own and a datapath that has no devices. An entry is a flow that
/// sends a destination address to a port, put in by <c>ovs-ofctl</c>, as a bundle (all or none) or not. Flows are not durable.
/// </summary>
public sealed class OvsSubject : IDisposable
{
    public const string Program = "ovs-vswitchd", Package = "openvswitch-switch";

    private const string Schema = "/usr/share/openvswitch/vswitch.ovsschema", Bridge = "bench";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _directory;
    private readonly Dictionary<string, string> _environment;
    private readonly ChildProcess _database, _switch;
    private readonly CancellationToken _cancel;
    private int _next;

    /// <param name="directory">For its files and sockets.</param>
    /// <param name="cancel">Ends the start, and each load.</param>
    public OvsSubject(string directory, CancellationToken cancel)
    {
        _directory = directory;
        _cancel = cancel;
        _environment = new Dictionary<string, string> { ["OVS_RUNDIR"] = directory, ["OVS_LOGDIR"] = directory, ["OVS_DBDIR"] = directory };
        string file = Path.Combine(directory, "conf.db"), socket = Path.Combine(directory, "db.sock");
        Do("ovsdb-tool", "create", file, Schema);
        _database = Start("ovsdb-server", file, $"--remote=punix:{socket}", $"--unixctl={directory}/db.ctl");
        try
        {
            WaitForFile(socket, _database);
            _switch = Start(Program, $"unix:{socket}", "--enable-dummy", "--disable-system", $"--unixctl={directory}/switch.ctl");
            Do("ovs-vsctl", $"--db=unix:{socket}", "--timeout=30", "add-br", Bridge, "--", "set", "bridge", Bridge, "datapath_type=dummy", "fail-mode=secure",
                "--", "add-port", Bridge, "target", "--", "set", "interface", "target", "type=dummy", "ofport_request=1");
            WaitForFile(Socket, _switch);
            Version = Do(Program, "--version").Split('\n')[0];
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Version { get; }

    /// <summary>Resident memory of the switch in bytes.</summary>
    public long ResidentBytes => ProcessMemory.Resident(_switch.Id);

    private TimeSpan Cpu => ProcessMemory.Cpu(_switch.Id);

    private string Socket => Path.Combine(_directory, $"{Bridge}.mgmt");

    /// <summary>One flow after the other, each by a process of its own: there is no other way from the command line.</summary>
    public LoadResult Single(int count)
    {
        var times = new List<TimeSpan>();
        TimeSpan cpu = Cpu;
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++)
        {
            long begin = Stopwatch.GetTimestamp();
            Do("ovs-ofctl", "add-flow", $"unix:{Socket}", Flow(_next++));
            times.Add(Stopwatch.GetElapsedTime(begin));
        }
        return Result("single, ovs-ofctl add-flow each", count, start, cpu, times);
    }

    /// <summary>Bundles, each by a process of its own.</summary>
    public LoadResult Bundles(int count, int batch)
    {
        string[] files = [.. Enumerable.Range(0, count / batch).Select(_ => File(batch))];
        var times = new List<TimeSpan>();
        TimeSpan cpu = Cpu;
        long start = Stopwatch.GetTimestamp();
        foreach (string file in files)
        {
            long begin = Stopwatch.GetTimestamp();
            Do("ovs-ofctl", "--bundle", "add-flows", $"unix:{Socket}", file);
            times.Add(Stopwatch.GetElapsedTime(begin));
        }
        return Result(Text($"ovs-ofctl, bundles of {batch:N0}"), count, start, cpu, times);
    }

    /// <summary>One process that sends all of them, as one bundle or flow by flow.</summary>
    public LoadResult Stream(int count, bool bundle)
    {
        string file = File(count);
        TimeSpan cpu = Cpu;
        long start = Stopwatch.GetTimestamp();
        Do("ovs-ofctl", [.. bundle ? ["--bundle"] : Array.Empty<string>(), "add-flows", $"unix:{Socket}", file]);
        return Result(bundle ? Text($"ovs-ofctl, one bundle of {count:N0}") : "ovs-ofctl, a stream of flows", count, start, cpu, [Stopwatch.GetElapsedTime(start)]);
    }

    public void Dispose()
    {
        _switch?.Dispose();
        _database.Dispose();
    }

    private LoadResult Result(string name, int count, long start, TimeSpan cpu, List<TimeSpan> times) =>
        // ovs-ofctl ends when the switch has answered, which is when the flows are in its tables.
        new(name, count, count / Stopwatch.GetElapsedTime(start).TotalSeconds, (Cpu - cpu).TotalMicroseconds / count, Latencies.Of(times), Latencies.Of(times));

    private static string Flow(int number) => $"dl_dst={Addresses.Text(number)},actions=output:1";

    private string File(int count)
    {
        string path = Path.Combine(_directory, Text($"flows-{_next}"));
        System.IO.File.WriteAllLines(path, Enumerable.Range(_next, count).Select(Flow));
        _next += count;
        return path;
    }

    private ChildProcess Start(string program, params string[] arguments) => new(Find(program), arguments, _directory, _environment);

    private string Do(string program, params string[] arguments)
    {
        _cancel.ThrowIfCancellationRequested();
        var start = new ProcessStartInfo(Find(program), arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in _environment)
        {
            start.Environment[name] = value;
        }
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(_cancel);
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(Patience) || process.ExitCode != 0)
        {
            throw new BenchException($"{program} {string.Join(' ', arguments.Take(3))} failed: {error.Result.Trim()}");
        }
        return output;
    }

    private void WaitForFile(string path, ChildProcess process)
    {
        for (long end = Environment.TickCount64 + (long)Patience.TotalMilliseconds; !System.IO.File.Exists(path); Thread.Sleep(10))
        {
            if (process.HasExited || Environment.TickCount64 > end)
            {
                throw process.Failure("did not start");
            }
            _cancel.ThrowIfCancellationRequested();
        }
    }

    private static string Find(string program) =>
        ProgramPath.Find(program) ?? throw new BenchException($"there is no {program}: install {Package}, or leave Open vSwitch out with --no-peers");

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
