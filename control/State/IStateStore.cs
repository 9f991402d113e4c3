using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.State;

/// <summary>A step from one state to the next one.</summary>
/// <param name="Before">The state that the step begins with.</param>
/// <param name="After">The state that it leads to.</param>
/// <param name="Changes">Everything that the two differ in, so that nobody needs to compare the rest.</param>
public sealed record StateChange(DesiredState Before, DesiredState After, IReadOnlyList<ResourceChange> Changes)
{
    /// <summary>A bit for each kind that is among them: most batches have resources of one, and are asked for all.</summary>
    private uint Kinds { get; } = KindsOf(Changes);

    /// <summary>The way back.</summary>
    public StateChange Reversed => new(After, Before, [.. Changes.Select(c => c.Reversed)]);

    /// <summary>Those of a kind.</summary>
    public IEnumerable<ResourceChange> Of(Kind kind) => Has(kind) ? Changes.Where(c => c.Kind == kind) : [];

    /// <summary>
    /// Whether it relies on more than what it names: prefixes of networks must not overlap, nor addresses of services, and what others
    /// name does not go.
    /// </summary>
    public bool ReliesOnAll => Changes.Any(c => c.Kind is Kind.Network or Kind.Service || (c.Kind == Kind.Policy && c.After is null));

    /// <summary>Whether resources of a kind are among them.</summary>
    public bool Has(Kind kind) => (Kinds >> (int)kind & 1) != 0;

    private static uint KindsOf(IReadOnlyList<ResourceChange> changes)
    {
        uint kinds = 0;
        for (int i = 0; i < changes.Count; i++)
        {
            kinds |= 1u << (int)changes[i].Kind;
        }
        return kinds;
    }
}

/// <summary>Where desired state survives the control process. Used by one caller at a time.</summary>
public interface IStateStore : IDisposable
{
    /// <summary>The state saved last, or the empty state when there is none.</summary>
    /// <exception cref="StateStoreException">There is one, and it cannot be read.</exception>
    DesiredState Load();

    /// <summary>
    /// Saves a change as a whole, at a cost proportional to the change. When it returns the new state is durable; when it
    /// throws the one before is.
    /// </summary>
    /// <exception cref="StateStoreException">The change could not be saved.</exception>
    void Save(StateChange change);

    /// <summary>Whether <see cref="Save(IReadOnlyList{StateChange})"/> takes several changes.</summary>
    bool SavesTogether => false;

    /// <summary>Saves changes of which each begins where the one before ends: all of them or none.</summary>
    /// <exception cref="StateStoreException">They could not be saved.</exception>
    void Save(IReadOnlyList<StateChange> changes)
    {
        foreach (StateChange change in changes.Count == 1 ? changes : throw new NotSupportedException($"{GetType().Name} saves one change at a time"))
        {
            Save(change);
        }
    }

    /// <summary>Notes a change that came out of the store itself, made by another node.</summary>
    /// <exception cref="StateStoreException">It could not be noted.</exception>
    void Adopt(StateChange change) => Save(change);

    /// <summary>Where the state is, for people.</summary>
    string Location { get; }

    /// <summary>This node's name.</summary>
    string Node => Environment.MachineName;

    /// <summary>The nodes that share the store, as far as it tells: their names, whether they are there, what they said of themselves.</summary>
    IReadOnlyList<Node> Nodes => [];

    /// <summary>Why no change can be saved now, or null when one can.</summary>
    string? WhyUnavailable => null;

    /// <summary>What is not as it should be although changes can be saved, or null.</summary>
    string? Trouble => null;
}

/// <summary>Desired state could not be read or saved, with what the operator can do about it.</summary>
/// <param name="message">What is wrong, and with which file or server.</param>
/// <param name="code">How a call ends that is refused for it.</param>
/// <param name="fix">What to do about it, when that is known.</param>
/// <param name="inner">The error below.</param>
public sealed class StateStoreException(string message, StatusCode code = StatusCode.Internal, string fix = "", Exception? inner = null)
    : Exception(fix.Length == 0 ? message : $"{message}; {fix}", inner)
{
    public StatusCode Code { get; } = code;

    /// <summary>The message without its fix.</summary>
    public string Problem { get; } = message;

    public string Fix { get; } = fix;
}
