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

/// <summary>A batch that was checked: the state after it, and what it makes of each resource that it names.</summary>
public sealed record PlannedBatch(DesiredState After, IReadOnlyList<ResourceChange> Changes)
{
    /// <summary>Whether anything changes.</summary>
    public bool HasEffect => Changes.Any(c => c.HasEffect);

    /// <summary>The same as the store takes it.</summary>
    public StateChange From(DesiredState before) => new(before, After, [.. Changes.Where(c => c.HasEffect)]);
}

/// <summary>Turns a batch into the state after it, or into the list of everything that is wrong with it.</summary>
public static class BatchPlanner
{
    /// <exception cref="ProblemException">The batch is refused; all its problems.</exception>
    public static PlannedBatch Plan(DesiredState before, Batch batch, Limits limits)
    {
        var problems = new ProblemCollector();
        List<Resource> wanted = [.. batch.Apply.Select(r => Normalise(before, r, problems))];
        CheckBatch(before, batch, wanted, problems);

        ulong revision = before.Revision + 1;
        var changes = new List<ResourceChange>(batch.Delete.Count + wanted.Count);
        var editor = new StateEditor(before);
        foreach (ResourceKey key in batch.Delete)
        {
            if (editor.Find(key.Kind, key.Name) is { } existing)
            {
                editor.Remove(key.Kind, key.Name);
                changes.Add(new ResourceChange(key.Kind, key.Name, existing, null));
            }
        }
        foreach (Resource resource in wanted.Where(r => r.Kind != Kind.Unspecified))
        {
            changes.Add(Put(before, editor, resource, revision, problems, limits));
        }

        DesiredState after = changes.Exists(c => c.HasEffect) ? editor.ToState(revision) : before;
        Validation.Check(after, wanted, batch.Delete, problems);
        return problems.Any ? throw problems.ToException() : new PlannedBatch(after, changes);
    }

    /// <summary>A copy without what the switch fills in, and with MAC addresses and names in one way of writing.</summary>
    private static Resource Normalise(DesiredState before, Resource resource, ProblemCollector problems)
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
                // One text of a name for all that use it: there may be a million.
                if (before.Networks.TryGetValue(mac.Network, out NetworkEntry? network))
                {
                    mac.Network = network.Spec.Name;
                }
                if (mac.Port.Length > 0 && before.Ports.TryGetValue(mac.Port, out PortEntry? port))
                {
                    mac.Port = port.Spec.Name;
                }
                break;
            default:
                problems.Add(Kind.Unspecified, "", "", "a resource is empty: it is neither a network, a port nor a static MAC");
                break;
        }
        return copy;
    }

    private static string NormaliseMac(string text) =>
        !MacAddress.IsPlain(text) && MacAddress.TryParse(text, out MacAddress mac) ? mac.ToString() : text;

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
            if (!batch.CreateOnly && resource.Revision == 0)
            {
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

    private static ResourceChange Put(
        DesiredState before, StateEditor editor, Resource resource, ulong revision, ProblemCollector problems, Limits limits)
    {
        IMessage? existing = editor.Find(resource.Kind, resource.Name);
        SetRevision(resource, existing is null ? revision : ResourceKeys.Of(existing).Revision);
        IMessage content = resource.Content!;
        // By their bytes: Equals takes an optional field that is false for one that is absent.
        if (existing is not null && existing.ToByteString() == content.ToByteString())
        {
            return new ResourceChange(resource.Kind, resource.Name, existing, existing);
        }
        SetRevision(resource, revision);
        switch (content)
        {
            case Network network: PutNetwork(before, editor, network, problems, limits); break;
            case Port port: PutPort(before, editor, port, problems, limits); break;
            case StaticMac mac: editor.Set(mac); break;
        }
        return new ResourceChange(resource.Kind, resource.Name, existing, content);
    }

    private static void PutNetwork(DesiredState before, StateEditor editor, Network spec, ProblemCollector problems, Limits limits)
    {
        NetworkEntry? existing = editor.Network(spec.Name);
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
        editor.Set(new NetworkEntry(spec, index, block));

        // A number that the same batch sets free is not given away again in it: packets may still carry it.
        IEnumerable<NetworkEntry> Networks() => editor.Networks.Concat(before.Networks.Values);
    }

    private static void PutPort(DesiredState before, StateEditor editor, Port spec, ProblemCollector problems, Limits limits)
    {
        int index = editor.Port(spec.Name)?.Index ?? LowestFree(editor.Ports.Concat(before.Ports.Values).Select(p => p.Index), limits.Ports);
        if (index == 0)
        {
            problems.Add(Kind.Port, spec.Name, "", $"there is room for {limits.Ports} ports", "start the daemon with a larger --max-ports");
        }
        editor.Set(new PortEntry(spec, index));
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
