using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Runtime;

public sealed partial class Controller
{
    /// <summary>Who keeps resources of its own, and why its networks take no new ports; null when they do.</summary>
    private ImmutableDictionary<string, string?> _owners = ImmutableDictionary<string, string?>.Empty;

    /// <summary>
    /// Reserves the resources of an owner: from now on a commit that changes one of them is refused. They are changed by
    /// <see cref="FollowAsync"/> with a batch of the owner's.
    /// </summary>
    /// <param name="owner">The owner.</param>
    /// <param name="closed">Why its networks take no new ports now; null when they do.</param>
    public void Reserve(string owner, string? closed) => ImmutableInterlocked.AddOrUpdate(ref _owners, owner, closed, (_, _) => closed);

    /// <exception cref="ProblemException">What the batch changes is another's, or is closed.</exception>
    private void CheckOwners(DesiredState before, PlannedBatch plan)
    {
        ImmutableDictionary<string, string?> owners = Volatile.Read(ref _owners);
        if (owners.IsEmpty)
        {
            return;
        }
        var problems = new ProblemCollector();
        foreach (ResourceChange change in plan.Changes.Where(c => c.HasEffect))
        {
            string owner = change.Before is { } existing ? ResourceKeys.Of(existing).Owner : "";
            if (owners.ContainsKey(owner))
            {
                problems.Add(change.Kind, change.Name, "", $"is kept by {owner}, which would change it back", "leave it out", StatusCode.FailedPrecondition);
            }
            if (change.After is Port { Network: { Length: > 0 } network }
                && (change.Before as Port)?.Network != network
                && before.Networks.GetValueOrDefault(network)?.Spec.Owner is { Length: > 0 } keeper
                && owners.GetValueOrDefault(keeper) is { } closed)
            {
                problems.Add(change.Kind, change.Name, "network", $"network \"{network}\" takes no new ports now: {closed}", "try again when the node has a lease", StatusCode.FailedPrecondition);
            }
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }
    }
}
