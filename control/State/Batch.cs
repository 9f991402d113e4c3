using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;
using Google.Protobuf;
using Grpc.Core;

namespace Dataplane.Control.State;

/// <summary>What a caller wants changed, as a whole.</summary>
public sealed record Batch
{
    public IReadOnlyList<Resource> Apply { get; init; } = [];
    public IReadOnlyList<ResourceKey> Delete { get; init; } = [];
    public bool CreateOnly { get; init; }

    /// <summary>Who asks; empty for the operator. What it applies is its own from then on.</summary>
    public string Owner { get; init; } = "";
    public bool IgnoreMissing { get; init; }
}

/// <summary>A batch that was checked: the state after it, and what it changes.</summary>
public sealed record PlannedBatch(DesiredState After, IReadOnlyList<Change> Changes)
{
    /// <summary>Whether anything changes.</summary>
    public bool HasEffect => Changes.Any(c => c.Action != Change.Types.Action.Unchanged);

    /// <summary>The same as the store takes it.</summary>
    public StateChange From(DesiredState before) => new(before, After, [.. Changes
        .Where(c => c.Action != Change.Types.Action.Unchanged)
        .Select(c => new ResourceKey { Kind = c.Resource.Kind, Name = c.Resource.Name })]);
}

/// <summary>Turns a batch into the state after it, or into the list of everything that is wrong with it.</summary>
public static partial class BatchPlanner
{
    /// <exception cref="ProblemException">The batch is refused; all its problems.</exception>
    public static PlannedBatch Plan(DesiredState before, Batch batch, Limits limits)
    {
        var problems = new ProblemCollector();
        List<Resource> wanted = [.. batch.Apply.Select(r => Normalise(r, problems))];
        foreach (Resource resource in wanted)
        {
            // Read, and applied again as it was: that changes no owner.
            bool same = batch.Owner.Length == 0 && resource.Owner.Length > 0 && resource.Owner == before.OwnerOf(new ResourceKey { Kind = resource.Kind, Name = resource.Name });
            resource.Owner = same ? resource.Owner : batch.Owner;
        }
        CheckBatch(before, batch, wanted, problems);

        ulong revision = before.Revision + 1;
        var changes = new List<Change>();
        DesiredState after = before;
        foreach (ResourceKey key in batch.Delete)
        {
            after = Remove(after, key, changes);
        }
        foreach (Resource resource in wanted)
        {
            after = Put(before, after, resource, revision, changes, problems, limits);
        }

        Validation.Check(before, after, wanted, batch.Delete, problems);
        if (problems.Any)
        {
            throw problems.ToException();
        }
        bool effect = changes.Any(c => c.Action != Change.Types.Action.Unchanged);
        return new PlannedBatch(effect ? after with { Revision = revision } : before, changes);
    }

    /// <summary>A copy without what the switch fills in, and with MAC addresses and names in one way of writing.</summary>
    private static Resource Normalise(Resource resource, ProblemCollector problems)
    {
        Resource copy = resource.Clone();
        switch (copy.ResourceCase)
        {
            case Resource.ResourceOneofCase.Network:
                copy.Network.Status = null;
                copy.Network.Mac = NormaliseMac(copy.Network.Mac);
                break;
            case Resource.ResourceOneofCase.Port:
                copy.Port.Status = null;
                if (copy.Port.Tap is { } tap)
                {
                    tap.Mac = NormaliseMac(tap.Mac);
                }
                break;
            case Resource.ResourceOneofCase.StaticMac:
                StaticMac mac = copy.StaticMac;
                mac.Mac = NormaliseMac(mac.Mac);
                mac.Name = MadeName(Kind.StaticMac, mac.Name, ResourceKeys.NameOf(mac), problems);
                break;
            case Resource.ResourceOneofCase.TunnelPeer:
                copy.TunnelPeer.Status = null;
                copy.TunnelPeer.Mac = NormaliseMac(copy.TunnelPeer.Mac);
                copy.TunnelPeer.Address = ResourceKeys.Address(copy.TunnelPeer.Address);
                break;
            case Resource.ResourceOneofCase.Neighbour:
                Neighbour neighbour = copy.Neighbour;
                neighbour.Mac = NormaliseMac(neighbour.Mac);
                neighbour.Address = ResourceKeys.Address(neighbour.Address);
                neighbour.Name = MadeName(Kind.Neighbour, neighbour.Name, ResourceKeys.NameOf(neighbour), problems);
                break;
            case Resource.ResourceOneofCase.Route:
                Route route = copy.Route;
                route.Status = null;
                route.Prefix = ResourceKeys.Prefix(route.Prefix);
                route.Name = MadeName(Kind.Route, route.Name, ResourceKeys.NameOf(route), problems);
                break;
            default:
                problems.Add(Kind.Unspecified, "", "", "a resource is empty: it is of no kind");
                break;
        }
        return copy;
    }

    /// <summary>The name that is made from the other fields, which the operator may have written too.</summary>
    private static string MadeName(Kind kind, string written, string name, ProblemCollector problems)
    {
        if (written.Length > 0 && written != name)
        {
            problems.Add(kind, written, "name", $"the name of this {kind.Text} is \"{name}\"", "leave the name empty");
        }
        return name;
    }

    private static string NormaliseMac(string text) => MacAddress.TryParse(text, out MacAddress mac) ? mac.ToString() : text;

    private static void CheckBatch(DesiredState before, Batch batch, List<Resource> wanted, ProblemCollector problems)
    {
        var seen = new HashSet<(Kind, string)>();
        foreach (Resource resource in wanted.Where(r => r.Kind != Kind.Unspecified))
        {
            if (!seen.Add((resource.Kind, resource.Name)))
            {
                problems.Add(resource.Kind, resource.Name, "name", "is named twice in the batch");
                continue;
            }
            Resource? existing = before.Find(resource.Kind, resource.Name);
            if (batch.CreateOnly && existing is not null)
            {
                problems.Add(resource.Kind, resource.Name, "name", "exists already", code: StatusCode.AlreadyExists);
            }
            else if (resource.Revision != 0 && resource.Revision != (existing?.Revision ?? 0))
            {
                string now = existing is null ? "does not exist" : $"has revision {existing.Revision}";
                problems.Add(resource.Kind, resource.Name, "revision", $"{now}, the request expects {resource.Revision}",
                    "read it again, then repeat the change", StatusCode.Aborted);
            }
        }
        foreach (ResourceKey key in batch.Delete)
        {
            if (key.Kind == Kind.Unspecified)
            {
                problems.Add(key.Kind, key.Name, "kind", $"the kind of \"{key.Name}\" is missing");
            }
            else if (!seen.Add((key.Kind, key.Name)))
            {
                problems.Add(key.Kind, key.Name, "name", "is named twice in the batch");
            }
            else if (!batch.IgnoreMissing && before.Find(key.Kind, key.Name) is null)
            {
                problems.Add(key.Kind, key.Name, "name", "does not exist", code: StatusCode.NotFound);
            }
        }
    }

    private static DesiredState Remove(DesiredState state, ResourceKey key, List<Change> changes)
    {
        if (state.Find(key.Kind, key.Name) is not { } existing)
        {
            return state;
        }
        changes.Add(new Change { Action = Change.Types.Action.Deleted, Resource = existing });
        return state.Without(key.Kind, key.Name);
    }

    private static DesiredState Put(
        DesiredState before, DesiredState state, Resource resource, ulong revision, List<Change> changes, ProblemCollector problems, Limits limits)
    {
        if (resource.Kind == Kind.Unspecified)
        {
            return state;
        }
        Resource? existing = state.Find(resource.Kind, resource.Name);
        resource.Revision = existing?.Revision ?? revision;
        // By their bytes: Equals takes an optional field that is false for one that is absent.
        if (existing is not null && existing.ToByteString() == resource.ToByteString())
        {
            changes.Add(new Change { Action = Change.Types.Action.Unchanged, Resource = existing });
            return state;
        }

        resource.Revision = revision;
        var change = new Change
        {
            Action = existing is null ? Change.Types.Action.Created : Change.Types.Action.Updated,
            Resource = resource.Clone(),
        };
        if (existing is not null)
        {
            change.Differences.AddRange(Differences.Between(existing, resource));
        }
        changes.Add(change);
        return resource.Kind switch
        {
            Kind.Network => PutNetwork(before, state, resource.Network, problems, limits),
            Kind.Port => PutPort(before, state, resource.Port, problems, limits),
            Kind.StaticMac => state with { StaticMacs = state.StaticMacs.SetItem(resource.Name, resource.StaticMac) },
            Kind.TunnelPeer => PutPeer(before, state, resource.TunnelPeer, problems, limits),
            Kind.Neighbour => state with { Neighbours = state.Neighbours.SetItem(resource.Name, resource.Neighbour) },
            _ => state with { Routes = state.Routes.SetItem(resource.Name, resource.Route) },
        };
    }
}
