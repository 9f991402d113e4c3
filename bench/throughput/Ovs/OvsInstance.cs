using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// Open vSwitch, both of its processes, in a private directory with sockets of its own. Its datapath in user space makes a TAP device
/// for each bridge, and so must run in a network namespace: that is what <paramref name="within"/> is for.
/// </summary>
public sealed class OvsInstance : IDisposable
{
    public const string Program = "ovs-vswitchd", Package = "openvswitch-switch";

    private const string Schema = "/usr/share/openvswitch/vswitch.ovsschema";
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly string _directory;
    private readonly Dictionary<string, string> _environment;
    private readonly ChildProcess _database, _switch;
    private readonly CancellationToken _cancel;

    /// <param name="program">The switch: <see cref="Program"/>, or one with DPDK.</param>
    /// <param name="arguments">Its arguments besides those that say where its files are.</param>
    /// <param name="settings">Columns of the database's only row, as <c>ovs-vsctl set</c> takes them, before the switch starts.</param>
    /// <param name="directory">For its files and sockets.</param>
    /// <param name="within">A command that runs the rest of its line where the switch is to be: <c>unshare --net</c>, say; nothing for here.</param>
    /// <param name="cancel">Ends every wait.</param>
    public OvsInstance(
        string program, IReadOnlyList<string> arguments, IReadOnlyList<string> settings, string directory, IReadOnlyList<string> within, CancellationToken cancel)
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
            Do("ovs-vsctl", [$"--db=unix:{socket}", "--no-wait", "init", .. settings.Count == 0 ? [] : new[] { "--", "set", "Open_vSwitch", "." }.Concat(settings)]);
            string[] command = [Find(program), $"unix:{socket}", $"--unixctl={ControlSocket}", "--log-file", .. arguments];
            command = [.. within, .. command];
            _switch = Start(command[0], command[1..]);
            WaitForFile(ControlSocket, _switch);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string CommandLine => _switch.CommandLine;

    public int Id => _switch.Id;

    public bool HasExited => _switch.HasExited;

    /// <summary>Configures it, and waits until it has done so.</summary>
    public void Vsctl(params string[] arguments) => Do("ovs-vsctl", [$"--db=unix:{Path.Combine(_directory, "db.sock")}", "--timeout=60", .. arguments]);

    /// <summary>Changes the flows of a bridge.</summary>
    public void Ofctl(string command, string bridge, params string[] arguments) => Do("ovs-ofctl", [command, $"unix:{ManagementSocket(bridge)}", .. arguments]);

    /// <summary>Asks the switch itself.</summary>
    public string Appctl(params string[] arguments) => OvsControl.Call(ControlSocket, arguments);

    /// <summary>The socket over which a bridge takes flows.</summary>
    public string ManagementSocket(string bridge)
    {
        string socket = Path.Combine(_directory, $"{bridge}.mgmt");
        WaitForFile(socket, _switch);
        return socket;
    }

    /// <summary>What went wrong, with the end of the switch's output.</summary>
    public BenchException Failure(string what) => _switch.Failure(what);

    /// <summary>Runs one of its tools to the end. Gives what it printed.</summary>
    public string Do(string program, params string[] arguments)
    {
        _cancel.ThrowIfCancellationRequested();
        return Tool.Run(program, arguments, _environment);
    }

    public void Dispose()
    {
        _switch?.Dispose();
        _database.Dispose();
    }

    private string ControlSocket => Path.Combine(_directory, "switch.ctl");

    private ChildProcess Start(string program, params string[] arguments) => new(Find(program), arguments, _directory, _environment);

    private void WaitForFile(string path, ChildProcess process)
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

    private static string Find(string program) =>
        ProgramPath.Find(program) ?? throw new BenchException($"there is no {program}: install {Package}, or leave Open vSwitch out with --no-peers");
}
