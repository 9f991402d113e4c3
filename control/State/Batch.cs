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

    /// <summary>Nobody else has the resources, as those of a request: they need not be copied, and become the state's.</summary>
    public bool Owned { get; init; }

    /// <summary>Who asks; empty for the operator. What it applies is its own from then on.</summary>
    public string Owner { get; init; } = "";
}

/// <summary>A batch that was checked: the state after it, and what it makes of each resource that it names.</summary>
public sealed record PlannedBatch(DesiredState After, IReadOnlyList<ResourceChange> Changes)
{
    /// <summary>Whether anything changes.</summary>
    public bool HasEffect => Changes.Any(c => c.HasEffect);

    /// <summary>The same as the store takes it.</summary>
    public StateChange From(DesiredState before) => new(before, After, Changes.All(c => c.HasEffect) ? Changes : [.. Changes.Where(c => c.HasEffect)]);
}

/// <summary>Turns a batch into the state after it, or into the list of everything that is wrong with it.</summary>
public static partial class BatchPlanner
{
    private const string ReadOnly = "nodes tell of themselves: they are listed and watched, not applied or deleted";

    /// <exception cref="ProblemException">The batch is refused; all its problems.</exception>
    public static PlannedBatch Plan(DesiredState before, Batch batch, Limits limits)
    {
        var problems = new ProblemCollector();
        var wanted = new List<Resource>(batch.Apply.Count);
        foreach (Resource given in batch.Apply)
        {
            Resource resource = Normalise(before, batch.Owned ? given : given.Clone(), problems);
            if (resource.Owner != batch.Owner && !IsAsRead(before, batch, resource))
            {
                resource.Owner = batch.Owner;
            }
            wanted.Add(resource);
        }
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
        foreach (Resource resource in wanted.Where(r => r.Kind is not (Kind.Unspecified or Kind.Node)))
        {
            changes.Add(Put(before, editor, resource, revision, problems, limits));
        }

        DesiredState after = changes.Exists(c => c.HasEffect) ? editor.ToState(revision) : before;
        Validation.Check(before, after, wanted, batch.Delete, problems);
        return problems.Any ? throw problems.ToException(before.Revision) : new PlannedBatch(after, changes);
    }

    /// <summary>Whether the operator applies an owner's resource as it was read: that is no change, and makes it nobody else's.</summary>
    private static bool IsAsRead(DesiredState before, Batch batch, Resource resource)
    {
        if (batch.Owner.Length > 0 || resource.Owner.Length == 0 || before.Find(resource.Kind, resource.Name) is not { } existing)
        {
            return false;
        }
        Resource copy = resource.Clone();
        copy.Revision = existing.Revision;
        return copy.ToByteString() == existing.ToByteString();
    }

    /// <summary>Takes away what the switch fills in, and gives MAC addresses and names one way of writing.</summary>
    private static Resource Normalise(DesiredState before, Resource resource, ProblemCollector problems)
    {
        switch (resource.ResourceCase)
        {
            case Resource.ResourceOneofCase.Network:
                resource.Network.Status = null;
                resource.Network.Mac = NormaliseMac(resource.Network.Mac);
                break;
            case Resource.ResourceOneofCase.Port:
                resource.Port.Status = null;
                if (resource.Port.Tap is { } tap)
                {
                    tap.Mac = NormaliseMac(tap.Mac);
                }
                break;
            case Resource.ResourceOneofCase.StaticMac:
                StaticMac mac = resource.StaticMac;
                mac.Mac = NormaliseMac(mac.Mac);
                mac.Name = MadeName(Kind.StaticMac, mac.Name, ResourceKeys.StaticMacName(mac.Network, mac.Vlan, mac.Mac), problems);
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
            case Resource.ResourceOneofCase.TunnelPeer:
                resource.TunnelPeer.Status = null;
                resource.TunnelPeer.Mac = NormaliseMac(resource.TunnelPeer.Mac);
                resource.TunnelPeer.Address = ResourceKeys.Address(resource.TunnelPeer.Address);
                break;
            case Resource.ResourceOneofCase.Neighbour:
                Neighbour neighbour = resource.Neighbour;
                neighbour.Mac = NormaliseMac(neighbour.Mac);
                neighbour.Address = ResourceKeys.Address(neighbour.Address);
                neighbour.Name = MadeName(Kind.Neighbour, neighbour.Name, ResourceKeys.NameOf(neighbour), problems);
                break;
            case Resource.ResourceOneofCase.Route:
                Route route = resource.Route;
                route.Status = null;
                route.Prefix = ResourceKeys.Prefix(route.Prefix);
                route.Name = MadeName(Kind.Route, route.Name, ResourceKeys.NameOf(route), problems);
                break;
            case Resource.ResourceOneofCase.Service:
                resource.Service.Status = null;
                NormaliseAddresses(resource.Service.ClusterIps);
                NormaliseAddresses(resource.Service.ExternalIps);
                NormaliseAddresses(resource.Service.LoadBalancerIps);
                break;
            case Resource.ResourceOneofCase.Backend:
                NormaliseBackend(before, resource.Backend, problems);
                break;
            case Resource.ResourceOneofCase.PublishedPort:
                resource.PublishedPort.Status = null;
                resource.PublishedPort.HostAddress = ResourceKeys.Address(resource.PublishedPort.HostAddress);
                resource.PublishedPort.Address = ResourceKeys.Address(resource.PublishedPort.Address);
                break;
            case Resource.ResourceOneofCase.Policy:
                resource.Policy.Status = null;
                break;
            case Resource.ResourceOneofCase.Node:
                problems.Add(Kind.Node, resource.Name, "", ReadOnly);
                break;
            default:
                problems.Add(Kind.Unspecified, "", "", "a resource is empty: it is of no kind");
                break;
        }
        return resource;
    }

    private static void NormaliseBackend(DesiredState before, Backend backend, ProblemCollector problems)
    {
        backend.Address = ResourceKeys.Address(backend.Address);
        if (backend.Name.Length == 0)
        {
            backend.Name = ResourceKeys.NameOf(backend);
        }
        else if (ResourceKeys.SplitBackend(backend.Name).Service != backend.Service)
        {
            problems.Add(Kind.Backend, backend.Name, "name", $"the name of a backend of service \"{backend.Service}\" begins with \"{backend.Service}/\"",
                "write it so, or leave the name empty");
        }
        // One text of a name for all that use it: there may be a million.
        if (before.Services.Services.TryGetValue(backend.Service, out ServiceEntry? service))
        {
            backend.Service = service.Spec.Name;
        }
    }

    private static void NormaliseAddresses(IList<string> addresses)
    {
        for (int i = 0; i < addresses.Count; i++)
        {
            addresses[i] = ResourceKeys.Address(addresses[i]);
        }
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

    private static string NormaliseMac(string text) =>
        !MacAddress.IsPlain(text) && MacAddress.TryParse(text, out MacAddress mac) ? mac.ToString() : text;

    private static void CheckBatch(DesiredState before, Batch batch, List<Resource> wanted, ProblemCollector problems)
    {
        HashSet<(Kind, string)>? seen = batch.Delete.Count == 0 && IsInOrder(wanted) ? null : new(wanted.Count + batch.Delete.Count);
        foreach (Resource resource in wanted.Where(r => r.Kind != Kind.Unspecified))
        {
            if (seen?.Add((resource.Kind, resource.Name)) == false)
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
            else if (key.Kind == Kind.Node)
            {
                problems.Add(key.Kind, key.Name, "", ReadOnly);
            }
            else if (seen?.Add((key.Kind, key.Name)) == false)
            {
                problems.Add(key.Kind, key.Name, "name", "is named twice in the batch");
            }
            else if (!batch.IgnoreMissing && before.Find(key.Kind, key.Name) is null)
            {
                problems.Add(key.Kind, key.Name, "name", "does not exist", code: StatusCode.NotFound);
            }
        }
    }

    /// <summary>Whether kinds and names come in order, as they do in bulk: then none comes twice.</summary>
    private static bool IsInOrder(List<Resource> wanted)
    {
        for (int i = 1; i < wanted.Count; i++)
        {
            Resource one = wanted[i - 1], next = wanted[i];
            if (one.Kind > next.Kind || (one.Kind == next.Kind && string.CompareOrdinal(one.Name, next.Name) >= 0))
            {
                return false;
            }
        }
        return true;
    }

    private static ResourceChange Put(
        DesiredState before, StateEditor editor, Resource resource, ulong revision, ProblemCollector problems, Limits limits)
    {
        IMessage? existing = editor.Find(resource.Kind, resource.Name);
        resource.Revision = existing is null ? revision : ResourceKeys.Of(existing).Revision;
        IMessage content = resource.Content!;
        // By their bytes: Equals takes an optional field that is false for one that is absent.
        if (existing is not null && existing.ToByteString() == content.ToByteString())
        {
            return new ResourceChange(resource.Kind, resource.Name, existing, existing);
        }
        resource.Revision = revision;
        switch (content)
        {
            case Network network: editor.Links = PutNetwork(before, editor.Links, network, problems, limits); break;
            case Port port: editor.Links = PutPort(before, editor.Links, port, problems, limits); break;
            case TunnelPeer peer: editor.Links = PutPeer(before, editor.Links, peer, problems, limits); break;
            case StaticMac mac: editor.Set(mac); break;
            case Neighbour neighbour: editor.Set(neighbour); break;
            case Route route: editor.Set(route); break;
            case Service service: editor.Services.Set(service); break;
            case Backend backend: editor.Services.Set(backend); break;
            case PublishedPort published: editor.Services.Set(published); break;
            case Policy policy: editor.Links = editor.Links with { Policies = editor.Links.Policies.SetItem(policy.Name, policy) }; break;
        }
        return new ResourceChange(resource.Kind, resource.Name, existing, content);
    }
}
