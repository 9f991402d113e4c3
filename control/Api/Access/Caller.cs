namespace Dataplane.Control.Api.Access;

/// <summary>What a caller may do; each includes those before.</summary>
public enum Role
{
    /// <summary>Nothing.</summary>
    None,
    /// <summary>Read state, counters and events.</summary>
    ReadOnly,
    /// <summary>Change state, and see packets.</summary>
    ReadWrite,
}

/// <summary>Who is at the other end of a connection. Found out once, when the connection is made.</summary>
/// <param name="Name">For messages and the log: "user 1000, process 4711", "certificate CN=grafana". Also what rates are counted by.</param>
/// <param name="Role">What it may do.</param>
/// <param name="Why">Why it may do no more.</param>
public sealed record Caller(string Name, Role Role, string Why);
