namespace Dataplane.Control.Api.Access;

/// <summary>What a call needs.</summary>
/// <param name="Needs">The least role.</param>
/// <param name="Streams">Whether it may stay open, and counts against the limit of open streams.</param>
public sealed record MethodRule(Role Needs, bool Streams);

/// <summary>
/// The role that each call needs. Reading is for everybody who has a role. Captures and traces show what others send, which
/// is more than reading counters: they need what changes need.
/// </summary>
public static class MethodRules
{
    private static readonly MethodRule Read = new(Role.ReadOnly, Streams: false), ReadStream = new(Role.ReadOnly, Streams: true);
    private static readonly MethodRule Write = new(Role.ReadWrite, Streams: false), WriteStream = new(Role.ReadWrite, Streams: true);

    /// <summary>Rules by path, "/dataplane.v1.Resources/Get".</summary>
    public static IReadOnlyDictionary<string, MethodRule> All { get; } = new Dictionary<string, MethodRule>(StringComparer.Ordinal)
    {
        ["/dataplane.v1.Resources/Get"] = Read,
        ["/dataplane.v1.Resources/List"] = Read,
        ["/dataplane.v1.Resources/Watch"] = ReadStream,
        ["/dataplane.v1.Resources/Apply"] = Write,
        ["/dataplane.v1.Resources/Delete"] = Write,
        ["/dataplane.v1.Resources/Push"] = WriteStream,
        ["/dataplane.v1.Stats/GetEngine"] = Read,
        ["/dataplane.v1.Stats/GetPorts"] = Read,
        ["/dataplane.v1.Stats/GetWorkers"] = Read,
        ["/dataplane.v1.Stats/GetQueues"] = Read,
        ["/dataplane.v1.Stats/GetDrops"] = Read,
        ["/dataplane.v1.Stats/ListMacs"] = ReadStream,
        ["/dataplane.v1.Stats/ListRoutes"] = ReadStream,
        ["/dataplane.v1.Stats/LookupRoute"] = Read,
        ["/dataplane.v1.Stats/ListNeighbours"] = ReadStream,
        ["/dataplane.v1.Stats/ListConnections"] = ReadStream,
        ["/dataplane.v1.Stats/GetConnections"] = Read,
        ["/dataplane.v1.Stats/WatchEvents"] = ReadStream,
        ["/dataplane.v1.Inspection/Capture"] = WriteStream,
        ["/dataplane.v1.Inspection/Trace"] = WriteStream,
        ["/dataplane.v1.Mac/Flush"] = Write,
        ["/dataplane.v1.Admin/EnablePort"] = Write,
        ["/dataplane.v1.Admin/AssignQueue"] = Write,
        ["/dataplane.v1.Admin/Stop"] = Write,
        ["/grpc.health.v1.Health/Check"] = Read,
        ["/grpc.health.v1.Health/Watch"] = ReadStream,
        ["/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"] = ReadStream,
    };

    /// <summary>The rule of a path. What is not known needs the most.</summary>
    public static MethodRule Of(string path) => All.GetValueOrDefault(path, Write);
}
