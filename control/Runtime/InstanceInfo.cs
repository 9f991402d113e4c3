using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Runtime;

/// <summary>What status calls say of this daemon.</summary>
/// <param name="Name">Name of the instance.</param>
/// <param name="SegmentPath">The shared-memory file; empty for private memory.</param>
/// <param name="EngineLog">The engine's log file; empty when there is none.</param>
/// <param name="Started">When the control process started.</param>
/// <param name="Flannel">The node's part in a flannel network; null without one.</param>
public sealed record InstanceInfo(string Name, string SegmentPath, string EngineLog, DateTimeOffset Started, Func<FlannelStatus>? Flannel = null);
