using Dataplane.Control.Api.V1;
using Google.Protobuf;

namespace Dataplane.Control.State;

/// <summary>What a batch makes of one resource. A value: a batch may have thousands, of which nobody asks for the words.</summary>
/// <param name="Kind">Its kind.</param>
/// <param name="Name">Its name.</param>
/// <param name="Before">As it was, null when there was none. Never changed in place.</param>
/// <param name="After">As it is to be, null when it is deleted; the same object as before when nothing changes.</param>
public readonly record struct ResourceChange(Kind Kind, string Name, IMessage? Before, IMessage? After)
{
    public Change.Types.Action Action =>
        Before is null ? Change.Types.Action.Created
        : After is null ? Change.Types.Action.Deleted
        : ReferenceEquals(Before, After) ? Change.Types.Action.Unchanged
        : Change.Types.Action.Updated;

    public bool HasEffect => !ReferenceEquals(Before, After);

    public ResourceKey Key => new() { Kind = Kind, Name = Name };

    /// <summary>As it is to be; as it was, when it is deleted.</summary>
    public Resource Resource => ResourceKeys.Of(After ?? Before!);

    /// <summary>What an update changes, field by field.</summary>
    public IReadOnlyList<string> Differences =>
        Action == Change.Types.Action.Updated ? [.. State.Differences.Between(Before!, After!)] : [];

    /// <summary>The way back.</summary>
    public ResourceChange Reversed => new(Kind, Name, After, Before);

    /// <summary>As the API tells it.</summary>
    public Change ToMessage() => new() { Action = Action, Resource = Resource, Differences = { Differences } };
}
