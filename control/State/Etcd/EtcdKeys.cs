using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// Where a resource lies under the prefix. What is the same everywhere lies once; what belongs to a node lies under its name:
/// <code>
/// networks/NAME                    networks
/// static-macs/NAME                 static MACs that drop
/// nodes/NODE/ports/NAME            ports
/// nodes/NODE/static-macs/NAME      static MACs behind a port of the node; here they outweigh a shared one of that name
/// </code>
/// </summary>
public sealed class EtcdKeys(string prefix, string node)
{
    private readonly string _root = prefix + "/", _own = $"{prefix}/nodes/{node}/";

    /// <summary>Everything: keys that begin with this.</summary>
    public string Root => _root;

    public string Networks => _root + "networks/";
    public string SharedMacs => _root + "static-macs/";
    public string Nodes => _root + "nodes/";

    public string Network(string name) => Networks + name;

    /// <summary>The key of a resource as it is to be stored.</summary>
    public string Of(Resource resource) => resource.Kind switch
    {
        Kind.Network => Network(resource.Name),
        Kind.Port => $"{_own}ports/{resource.Name}",
        _ => resource.StaticMac.Drop ? SharedMacs + resource.Name : $"{_own}static-macs/{resource.Name}",
    };

    /// <summary>Every key where a resource of that name may lie; the first that is there holds.</summary>
    public string[] All(ResourceKey key) => key.Kind switch
    {
        Kind.Network => [Network(key.Name)],
        Kind.Port => [$"{_own}ports/{key.Name}"],
        _ => [$"{_own}static-macs/{key.Name}", SharedMacs + key.Name],
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
            ["static-macs", var name] => ("", Kind.StaticMac, name),
            ["nodes", var rest] when rest.Split('/', 3) is [var owner, "ports", var name] => (owner, Kind.Port, name),
            ["nodes", var rest] when rest.Split('/', 3) is [var owner, "static-macs", var name] => (owner, Kind.StaticMac, name),
            _ => null,
        };
    }

    public bool IsOwnOrShared(string owner) => owner.Length == 0 || owner == node;
}
