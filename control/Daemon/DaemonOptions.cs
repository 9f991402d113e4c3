using Dataplane.Control.Api.Access;
using Dataplane.Control.Engine;
using Dataplane.Control.Flannel;
using Dataplane.Control.Manifests;
using Dataplane.Control.State.Etcd;
using Dataplane.Memory;

namespace Dataplane.Control.Daemon;

/// <summary>How a daemon runs.</summary>
internal sealed record DaemonOptions
{
    public required InstancePaths Paths { get; init; }
    public required EngineCommand Engine { get; init; }

    /// <summary>Sizes of the tables, used when the segment is made.</summary>
    public required SegmentOptions Segment { get; init; }

    /// <summary>Resources of --config; applied at start on top of what was saved.</summary>
    public required IReadOnlyList<LocatedResource> Config { get; init; }

    /// <summary>Where desired state survives an orderly end and a reboot; null to keep it with the other files, and no longer than they.</summary>
    public string? StateDirectory { get; init; }

    /// <summary>The file of desired state.</summary>
    public string StateFile => StateDirectory is null ? Paths.State : Path.Combine(StateDirectory, Paths.Name + ".db");

    /// <summary>The etcd that holds desired state, or null when it is this instance's own file.</summary>
    public EtcdOptions? Etcd { get; init; }

    /// <summary>How this node takes part in a flannel network, or null. Its keys are in <see cref="Etcd"/>.</summary>
    public FlannelOptions? Flannel { get; init; }

    /// <summary>Group that may use the API, or null.</summary>
    public string? SocketGroup { get; init; }

    /// <summary>Where the API is served over TCP too, or null.</summary>
    public TlsEndpoint? Tcp { get; init; }

    /// <summary>At the end leave the engine forwarding.</summary>
    public bool KeepEngine { get; init; }
}

/// <summary>The daemon cannot run, with what the operator can do about it.</summary>
internal sealed class DaemonException(string message) : Exception(message);
