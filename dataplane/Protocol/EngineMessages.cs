using System.Text.Json.Serialization;

namespace Dataplane.Protocol;

/// <summary>What the control process asks of the engine. One JSON object per datagram; descriptors travel beside it.</summary>
public enum EngineOperation
{
    /// <summary>Who are you, and which ports do you have?</summary>
    Hello,
    /// <summary>Attach a port; a TAP's descriptors come with the request.</summary>
    Attach,
    Detach,
    /// <summary>Copies of a TAP port's descriptors, for a new control process; they come with the reply.</summary>
    Fds,
    /// <summary>Give a receive queue of a port to another worker.</summary>
    Assign,
    /// <summary>Stop in order.</summary>
    Quit,
}

/// <summary>A request.</summary>
public sealed record EngineRequest
{
    public required EngineOperation Operation { get; init; }

    /// <summary>Index of the port in the segment.</summary>
    public int Index { get; init; }

    /// <summary>Name of the port, for messages.</summary>
    public string? Name { get; init; }

    /// <summary>The device: see <see cref="Ports.PortSpec"/>.</summary>
    public string? Spec { get; init; }

    /// <summary>Layer-3 MTU in bytes.</summary>
    public int Mtu { get; init; }

    /// <summary>Address of a TAP's kernel side, "02:42:…".</summary>
    public string? Mac { get; init; }

    /// <summary>Receive queue, from 0.</summary>
    public int Queue { get; init; }

    /// <summary>Number of the worker that is to poll it.</summary>
    public int Worker { get; init; }
}

/// <summary>A port as the engine has it.</summary>
public sealed record EnginePortInfo
{
    public required int Index { get; init; }
    public required string Name { get; init; }
    public required string Spec { get; init; }
    public required int RxQueues { get; init; }
    public required int TxQueues { get; init; }
    /// <summary>The worker that polls each receive queue.</summary>
    public IReadOnlyList<int> Workers { get; init; } = [];
    /// <summary>"02:42:…", or null when the device has none.</summary>
    public string? Mac { get; init; }
    /// <summary>errno when the device went away, else 0.</summary>
    public int LostError { get; init; }
}

/// <summary>A reply.</summary>
public sealed record EngineReply
{
    /// <summary>Null when the request was carried out; else what went wrong and how to mend it.</summary>
    public string? Error { get; init; }

    public int Pid { get; init; }
    public string? Version { get; init; }
    public string? Dpdk { get; init; }
    public int Workers { get; init; }

    /// <summary>Path of the segment it works on.</summary>
    public string? Segment { get; init; }

    /// <summary>All ports (Hello), or the one attached.</summary>
    public IReadOnlyList<EnginePortInfo>? Ports { get; init; }
}

[JsonSourceGenerationOptions(UseStringEnumConverter = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(EngineRequest))]
[JsonSerializable(typeof(EngineReply))]
internal sealed partial class EngineJson : JsonSerializerContext;
