using System.Globalization;
using System.Text.Json;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// An instance of the switch in a namespace that plays the host. Dispose ends its processes and removes every trace, and so
/// does the next run of the tests when this one crashes.
/// </summary>
public sealed class Switch : IDisposable
{
    private static int s_count;

    private readonly List<IDisposable> _owned = [];
    private readonly string[] _options;
    private Tool? _daemon;

    static Switch()
    {
        Programs.Require();
        Leftovers.RemoveOfDeadRuns();
    }

    /// <param name="options">Options of <c>dataplane run</c>.</param>
    public Switch(params string[] options)
    {
        _options = options;
        Instance = string.Create(CultureInfo.InvariantCulture, $"{Leftovers.InstancePrefix}{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}");
        Host = Own(new Namespace("host"));
        Api = Own(new ApiClient($"/run/dataplane/{Instance}/api.sock"));
    }

    public string Instance { get; }

    /// <summary>The namespace that the daemon runs in, and that host ports are in.</summary>
    public Namespace Host { get; }

    public ApiClient Api { get; }

    public string RunDirectory => $"/run/dataplane/{Instance}";

    public string SegmentFile => $"/dev/shm/dataplane-{Instance}";

    public int ControlPid => _daemon?.Pid ?? throw new InvalidOperationException("the daemon was not started");

    public int EnginePid => (int)Api.Status.EnginePid;

    /// <summary>What the daemon wrote, for messages of failed assertions.</summary>
    public string Log => _daemon is null ? "" : _daemon.Output + _daemon.Error;

    /// <summary>A switch that runs.</summary>
    public static Switch Started(params string[] options)
    {
        var one = new Switch(options);
        try
        {
            one.Start();
            return one;
        }
        catch
        {
            one.Dispose();
            throw;
        }
    }

    /// <summary>The arguments of <c>dataplane run</c> for this instance.</summary>
    public string[] RunCommand(params string[] options) => Host.Inside([Programs.Control, "run", "--instance", Instance, .. _options, .. options]);

    /// <summary>Starts the daemon and waits until it answers.</summary>
    public void Start()
    {
        _daemon?.Dispose();
        _daemon = Tool.Start(RunCommand());
        Until.True(
            () => Api.TryStatus() is { State: EngineStatus.Types.State.Running } status && status.ControlPid == ControlPid || FailIfEnded(),
            "the daemon answers", () => Log);
    }

    /// <summary>Ends the daemon by a signal and waits for its end.</summary>
    public Finished Stop(int signal)
    {
        _daemon!.Signal(signal);
        return _daemon.Wait();
    }

    /// <summary>
    /// Does what a command of the command line does, which must succeed; gives its output. Without the program's own process, which would
    /// take most of the time of the tests; <see cref="Run"/> has one.
    /// </summary>
    public string Do(params string[] arguments) => CommandLine.Run([.. arguments, "--instance", Instance]).Succeeds().Output;

    /// <summary>Waits until what a command prints has a text in it: events and lists follow what has happened by a moment.</summary>
    public void Shows(string text, params string[] arguments)
    {
        string printed = "";
        Until.True(() => (printed = Do(arguments)).Contains(text, StringComparison.Ordinal), $"\"{text}\" is shown", () => printed);
    }

    /// <summary>Runs a command of the command line.</summary>
    public Finished Run(params string[] arguments) => Tool.Run([Programs.Control, .. arguments, "--instance", Instance]);

    /// <summary>What a command prints with <c>-o json</c>.</summary>
    public JsonElement Json(params string[] arguments) => JsonDocument.Parse(Do([.. arguments, "-o", "json"])).RootElement;

    /// <summary>Applies a file of resources by the command line.</summary>
    public Finished TryApply(string yaml, params string[] options) =>
        Tool.Run([Programs.Control, "apply", "-f", "-", "--instance", Instance, .. options], input: yaml);

    /// <summary>Applies resources, which must succeed.</summary>
    public void Apply(string yaml) => Api.Apply(ManifestReader.Read(new StringReader(yaml), "-").Select(l => l.Resource));

    /// <summary>A namespace to attach a port to.</summary>
    public Namespace Container(string label) => Own(new Namespace(label));

    /// <summary>Waits until a port is in a state.</summary>
    public void WaitFor(string port, PortStatus.Types.State state) =>
        Until.True(() => Api.PortStatus(port).State == state, $"port {port} is {state}", () => $"{Api.PortStatus(port)}\n{Log}");

    /// <summary>Something that ends with the switch.</summary>
    public T Own<T>(T thing)
        where T : IDisposable
    {
        _owned.Add(thing);
        return thing;
    }

    public void Dispose()
    {
        _daemon?.Dispose();
        Leftovers.Remove(Instance);
        foreach (IDisposable thing in Enumerable.Reverse(_owned))
        {
            thing.Dispose();
        }
    }

    private bool FailIfEnded()
    {
        if (_daemon!.HasEnded)
        {
            Assert.Fail(_daemon.Wait().ToString());
        }
        return false;
    }
}
