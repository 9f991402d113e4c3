using Dataplane.ThroughputBench.Control;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Our switch as it is installed, with its defaults, and a TAP device in each container.</summary>
public sealed class SwitchNetwork : ContainerNetwork
{
    private readonly DaemonSubject? _daemon;

    /// <param name="directory">For the daemon's files.</param>
    /// <param name="engine">Path of the engine.</param>
    /// <param name="workers">Its workers.</param>
    /// <param name="cancel">Ends the start.</param>
    public SwitchNetwork(string directory, string engine, int workers, CancellationToken cancel)
    {
        try
        {
            _daemon = new DaemonSubject(directory, ["--engine", engine, "--workers", workers.ToString(System.Globalization.CultureInfo.InvariantCulture)], cancel);
            _daemon.MakeNetwork();
            _daemon.MakeContainers([First, Second], [$"{FirstAddress}/{PrefixLength}", $"{SecondAddress}/{PrefixLength}"]);
            Version = _daemon.Version;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Version { get; } = "";

    public override IReadOnlyList<int> Processes => [_daemon!.Id, _daemon.EngineId];

    public override void Dispose()
    {
        _daemon?.Dispose();
        base.Dispose();
    }
}
