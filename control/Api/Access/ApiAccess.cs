namespace Dataplane.Control.Api.Access;

/// <summary>Ways to the API, and how much of it a caller gets.</summary>
public sealed record ApiAccess
{
    /// <summary>Group that may use the unix socket besides root, or null.</summary>
    public SocketGroup? Group { get; init; }

    /// <summary>Where to serve over TCP too, or null.</summary>
    public TlsEndpoint? Tcp { get; init; }

    public CallLimits Limits { get; init; } = new();
}
