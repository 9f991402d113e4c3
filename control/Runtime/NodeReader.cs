using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Google.Protobuf.WellKnownTypes;

namespace Dataplane.Control.Runtime;

/// <summary>The nodes of the cluster: what the store tells of the others, and what this one knows of itself. Safe on any thread.</summary>
public sealed class NodeReader(IStateStore store, TimeProvider clock, Func<DesiredState> state)
{
    private readonly Timestamp _started = clock.GetUtcNow().ToTimestamp();

    /// <summary>Version of this program.</summary>
    public static string Version { get; } = typeof(NodeReader).Assembly.GetName().Version?.ToString(3) ?? "";

    /// <summary>All of them, by name. This one is among them even when the store does not know it yet.</summary>
    public IReadOnlyList<Node> All => [.. store.Nodes.Where(n => n.Name != store.Node).Append(Self).OrderBy(n => n.Name, StringComparer.Ordinal)];

    private Node Self => new()
    {
        Name = store.Node,
        Self = true,
        Online = store.WhyUnavailable is null,
        Version = Version,
        Started = _started,
        Ports = (uint)state().Ports.Count,
    };
}
