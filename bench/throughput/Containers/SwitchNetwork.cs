using Dataplane.ThroughputBench.Control;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Our switch as it is installed, with its defaults, and a TAP device in each container.</summary>
public sealed class SwitchNetwork : ContainerNetwork
{
    public const string Name = "dataplane";

    private readonly DaemonSubject? _daemon;

    public SwitchNetwork(string directory, int workers, CancellationToken cancel)
    {
        try
        {
            _daemon = new DaemonSubject(directory, ["--workers", workers.ToString(System.Globalization.CultureInfo.InvariantCulture)], cancel);
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
