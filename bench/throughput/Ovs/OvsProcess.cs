using System.Diagnostics;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// Open vSwitch in a private directory: a database of its own, and then the switch, with their sockets. Nothing of it is seen by one that
/// the machine may run, and none of it stays behind.
/// </summary>
public sealed class OvsProcess : IDisposable
{
    public const string Program = "ovs-vswitchd", Package = "openvswitch-switch";

    private const string Schema = "/usr/share/openvswitch/vswitch.ovsschema";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _directory;
    private readonly CancellationToken _cancel;
    private readonly Dictionary<string, string> _environment;
    private readonly ChildProcess _database;
    private ChildProcess? _switch;

    /// <summary>Starts the database.</summary>
    /// <param name="directory">For its files and sockets.</param>
    /// <param name="cancel">Ends whatever waits.</param>
    public OvsProcess(string directory, CancellationToken cancel)
    {
        _directory = directory;
        _cancel = cancel;
        _environment = new Dictionary<string, string> { ["OVS_RUNDIR"] = directory, ["OVS_LOGDIR"] = directory, ["OVS_DBDIR"] = directory };
        string file = FileOf("conf.db");
        Do("ovsdb-tool", "create", file, Schema);
        _database = new ChildProcess(Find("ovsdb-server"), [file, $"--remote=punix:{Database}", $"--unixctl={FileOf("db.ctl")}"], directory, _environment);
        try
        {
            WaitForFile(Database, _database);
            Configure("--no-wait", "init");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The switch itself, once it was started.</summary>
    public ChildProcess Switch => _switch ?? throw new InvalidOperationException("the switch was not started");

    private string Database => FileOf("db.sock");

    /// <summary>A file of that name in its directory.</summary>
    public string FileOf(string name) => Path.Combine(_directory, name);

    /// <summary>Starts the switch.</summary>
    /// <param name="program">Its path.</param>
    /// <param name="ownNetwork">In a network namespace of its own, where its devices are; needs root.</param>
    /// <param name="options">Further options.</param>
    public void Start(string program, bool ownNetwork, params string[] options)
    {
        // --disable-system: never the kernel's datapath, which belongs to the machine.
        string[] command = [program, $"unix:{Database}", "--disable-system", $"--unixctl={FileOf("switch.ctl")}", .. options];
        _switch = ownNetwork
            ? new ChildProcess(Find("unshare"), ["--net", "--", .. command], _directory, _environment)
            : new ChildProcess(program, command[1..], _directory, _environment);
    }

    /// <summary>A command of <c>ovs-vsctl</c>. It ends when the switch has done what it says.</summary>
    public string Configure(params string[] arguments) => Do("ovs-vsctl", [$"--db=unix:{Database}", "--timeout=30", .. arguments]);

    /// <summary>A command to the running switch.</summary>
    public string Ask(params string[] arguments) => Do("ovs-appctl", ["-t", FileOf("switch.ctl"), .. arguments]);

    /// <summary>A program in the switch's network namespace.</summary>
    public string Inside(params string[] command) =>
        Do("nsenter", [string.Create(CultureInfo.InvariantCulture, $"--net=/proc/{Switch.Id}/ns/net"), "--", .. command]);

    /// <summary>Runs a program to its end, which must be success; gives its output.</summary>
    public string Do(string program, params string[] arguments)
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
            string what = $"{program} {string.Join(' ', arguments.Take(4))} failed: {error.Result.Trim()}";
            throw _switch is { HasExited: true } ended ? ended.Failure($"ended; {what}") : new BenchException(what);
        }
        return output;
    }

    /// <summary>Waits until a file is there.</summary>
    public void WaitForFile(string path, ChildProcess process)
    {
        for (long end = Environment.TickCount64 + (long)Patience.TotalMilliseconds; !File.Exists(path); Thread.Sleep(10))
        {
            if (process.HasExited || Environment.TickCount64 > end)
            {
                throw process.Failure("did not start");
            }
            _cancel.ThrowIfCancellationRequested();
        }
    }

    public void Dispose()
    {
        _switch?.Dispose();
        _database.Dispose();
    }

    /// <summary>The full path of one of its programs.</summary>
    public static string Find(string program) =>
        ProgramPath.Find(program) ?? throw new BenchException($"there is no {program}: install {Package}, or leave Open vSwitch out with --no-peers");
}
