using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// Where a resource lies under the prefix. What is the same everywhere lies once; what belongs to a node lies under its name:
/// <code>
/// networks/NAME                    networks
/// policies/NAME                    policies
/// static-macs/NAME                 static MACs that drop
/// services/NAME                    services
/// backends/SERVICE/ID              backends of services
/// nodes/NODE/ports/NAME            ports
/// nodes/NODE/static-macs/NAME      static MACs behind a port of the node; here they outweigh a shared one of that name
/// nodes/NODE/tunnel-peers/NAME     tunnel peers: the other nodes as this one sees them
/// nodes/NODE/neighbours/NAME       neighbours
/// nodes/NODE/routes/VRF/PREFIX     routes
/// nodes/NODE/published-ports/NAME  published ports
/// alive/NODE                       there as long as the node is connected (by a lease), with what it says of itself
/// </code>
/// Whose a kind is follows from what it names: ports are a node's own, and so is what leads to them or away from the node.
/// </summary>
public sealed class EtcdKeys(string prefix, string node)
{
    /// <summary>Folders under a node's name.</summary>
    private static readonly (Kind Kind, string Name)[] Folders =
    [
        (Kind.Port, "ports"), (Kind.StaticMac, "static-macs"), (Kind.TunnelPeer, "tunnel-peers"), (Kind.Neighbour, "neighbours"), (Kind.Route, "routes"),
        (Kind.PublishedPort, "published-ports"),
    ];

    private readonly string _root = prefix + "/", _own = $"{prefix}/nodes/{node}/";

    /// <summary>Everything: keys that begin with this.</summary>
    public string Root => _root;

    public string Networks => _root + "networks/";
    public string Policies => _root + "policies/";
    public string SharedMacs => _root + "static-macs/";
    public string Services => _root + "services/";
    public string Backends => _root + "backends/";
    public string Nodes => _root + "nodes/";

    /// <summary>Everything but who is there just now.</summary>
    public string Lasting => _root + "alive0"; // the character behind the slash

    /// <summary>The key that is there as long as this node is connected.</summary>
    public string Alive => $"{_root}alive/{node}";

    /// <summary>The node whose <see cref="Alive"/> a key is, or null.</summary>
    public string? AliveNode(string key) => key.StartsWith(_root + "alive/", StringComparison.Ordinal) ? key[(_root.Length + "alive/".Length)..] : null;

    public string Network(string name) => Networks + name;

    public string Service(string name) => Services + name;

    /// <summary>What the keys of a service's backends begin with.</summary>
    public string BackendsOf(string service) => $"{Backends}{service}/";
    public string Policy(string name) => Policies + name;

    /// <summary>The key of a resource as it is to be stored.</summary>
    public string Of(Resource resource) => resource.Kind switch
    {
        Kind.Network => Network(resource.Name),
        Kind.Service => Service(resource.Name),
        Kind.Backend => Backends + resource.Name,
        Kind.Policy => Policy(resource.Name),
        Kind.StaticMac when resource.StaticMac.Drop => SharedMacs + resource.Name,
        Kind kind => Own(kind, resource.Name),
    };

    /// <summary>Every key where a resource of that name may lie; the first that is there holds.</summary>
    public string[] All(ResourceKey key) => key.Kind switch
    {
        Kind.Network => [Network(key.Name)],
        Kind.Service => [Service(key.Name)],
        Kind.Backend => [Backends + key.Name],
        Kind.Policy => [Policy(key.Name)],
        Kind.StaticMac => [Own(Kind.StaticMac, key.Name), SharedMacs + key.Name],
        _ => [Own(key.Kind, key.Name)],
    };

    /// <summary>What lies at a key: its node (empty when it is everybody's), kind and name. Null for a key that is none of ours.</summary>
    public (string Node, Kind Kind, string Name)? Parse(string key)
    {
        if (!key.StartsWith(_root, StringComparison.Ordinal))
        {
            return null;
        }
        string[] parts = key[_root.Length..].Split('/', 2);
        return parts switch
        {
            ["networks", var name] => ("", Kind.Network, name),
            ["services", var name] => ("", Kind.Service, name),
            ["backends", var name] => ("", Kind.Backend, name),
            ["policies", var name] => ("", Kind.Policy, name),
            ["static-macs", var name] => ("", Kind.StaticMac, name),
            ["nodes", var rest] when rest.Split('/', 3) is [var owner, var folder, var name] && KindOf(folder) is { } kind => (owner, kind, name),
            _ => null,
        };
    }

    public bool IsOwnOrShared(string owner) => owner.Length == 0 || owner == node;

    private string Own(Kind kind, string name) => $"{_own}{Folders.First(f => f.Kind == kind).Name}/{name}";

    private static Kind? KindOf(string folder) => Folders.Where(f => f.Name == folder).Select(f => (Kind?)f.Kind).FirstOrDefault();
}
