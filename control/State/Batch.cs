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
public static class BatchPlanner
{
    /// <exception cref="ProblemException">The batch is refused; all its problems.</exception>
    public static PlannedBatch Plan(DesiredState before, Batch batch, Limits limits)
    {
        var problems = new ProblemCollector();
        List<Resource> wanted = [.. batch.Apply.Select(r => Normalise(r, problems))];
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

        Validation.Check(after, [.. wanted], batch.Delete, problems, limits);
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
                string name = ResourceKeys.StaticMacName(mac.Network, mac.Vlan, mac.Mac);
                if (mac.Name.Length > 0 && mac.Name != name)
                {
                    problems.Add(Kind.StaticMac, mac.Name, "name", $"the name of this static MAC is \"{name}\"", "leave the name empty");
                }
                mac.Name = name;
                break;
            default:
                problems.Add(Kind.Unspecified, "", "", "a resource is empty: it is neither a network, a port nor a static MAC");
                break;
        }
        return copy;
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
        return key.Kind switch
        {
            Kind.Network => state with { Networks = state.Networks.Remove(key.Name) },
            Kind.Port => state with { Ports = state.Ports.Remove(key.Name) },
            _ => state with { StaticMacs = state.StaticMacs.Remove(key.Name) },
        };
    }

    private static DesiredState Put(
        DesiredState before, DesiredState state, Resource resource, ulong revision, List<Change> changes, ProblemCollector problems, Limits limits)
    {
        if (resource.Kind == Kind.Unspecified)
        {
            return state;
        }
        Resource? existing = state.Find(resource.Kind, resource.Name);
        SetRevision(resource, existing?.Revision ?? revision);
        // By their bytes: Equals takes an optional field that is false for one that is absent.
        if (existing is not null && existing.ToByteString() == resource.ToByteString())
        {
            changes.Add(new Change { Action = Change.Types.Action.Unchanged, Resource = existing });
            return state;
        }

        SetRevision(resource, revision);
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
            _ => state with { StaticMacs = state.StaticMacs.SetItem(resource.Name, resource.StaticMac) },
        };
    }

    private static DesiredState PutNetwork(
        DesiredState before, DesiredState state, Network spec, ProblemCollector problems, Limits limits)
    {
        state.Networks.TryGetValue(spec.Name, out NetworkEntry? existing);
        int index = existing?.Index ?? LowestFree(Networks().Select(n => n.Index), limits.Networks);
        if (index == 0)
        {
            problems.Add(Kind.Network, spec.Name, "", $"there is room for {limits.Networks} networks", "start the daemon with a larger --max-networks");
        }
        int block = 0;
        if (spec.VlanFiltering)
        {
            block = existing is { FidBlock: > 0 } ? existing.FidBlock
                : LowestFree(Networks().Select(n => n.FidBlock), Limits.VlanNetworks);
            if (block == 0)
            {
                problems.Add(Kind.Network, spec.Name, "vlan_filtering", $"only {Limits.VlanNetworks} networks can have VLAN filtering",
                    "use VLANs of one network, or a network without VLAN filtering");
            }
        }
        return state with { Networks = state.Networks.SetItem(spec.Name, new NetworkEntry(spec, index, block)) };

        // A number that the same batch sets free is not given away again in it: packets may still carry it.
        IEnumerable<NetworkEntry> Networks() => state.Networks.Values.Concat(before.Networks.Values);
    }

    private static DesiredState PutPort(
        DesiredState before, DesiredState state, Port spec, ProblemCollector problems, Limits limits)
    {
        state.Ports.TryGetValue(spec.Name, out PortEntry? existing);
        int index = existing?.Index ?? LowestFree(state.Ports.Values.Concat(before.Ports.Values).Select(p => p.Index), limits.Ports);
        if (index == 0)
        {
            problems.Add(Kind.Port, spec.Name, "", $"there is room for {limits.Ports} ports", "start the daemon with a larger --max-ports");
        }
        return state with { Ports = state.Ports.SetItem(spec.Name, new PortEntry(spec, index)) };
    }

    /// <summary>The lowest number from 1 that is not used, 0 when there is none up to <paramref name="last"/>.</summary>
    private static int LowestFree(IEnumerable<int> used, int last)
    {
        HashSet<int> taken = [.. used];
        for (int i = 1; i <= last; i++)
        {
            if (!taken.Contains(i))
            {
                return i;
            }
        }
        return 0;
    }

    private static void SetRevision(Resource resource, ulong revision)
    {
        switch (resource.ResourceCase)
        {
            case Resource.ResourceOneofCase.Network: resource.Network.Revision = revision; break;
            case Resource.ResourceOneofCase.Port: resource.Port.Revision = revision; break;
            case Resource.ResourceOneofCase.StaticMac: resource.StaticMac.Revision = revision; break;
        }
    }
}
