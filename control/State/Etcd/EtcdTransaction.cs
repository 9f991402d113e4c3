using Dataplane.Control.Api.V1;
using Etcdserverpb;
using Google.Protobuf;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// A change as one transaction of etcd. It is guarded by the revisions of everything that its check relied upon: the keys it
/// writes, the networks, policies and services that they name; and, when networks change or policies go, everything there is, because
/// prefixes of networks must not overlap, and what others name does not go. When services change, that is all services and networks,
/// because they must not have the same addresses; and the backends of a service that is deleted.
/// </summary>
internal sealed class EtcdTransaction
{
    private readonly EtcdKeys _keys;
    private readonly EtcdView _view;

    public EtcdTransaction(EtcdKeys keys, EtcdView view, StateChange change)
    {
        _keys = keys;
        _view = view;
        HashSet<string> networks = new(StringComparer.Ordinal), policies = new(StringComparer.Ordinal);
        foreach (ResourceChange resource in change.Changes)
        {
            Resource? after = resource.After is { } content ? ResourceKeys.Of(content) : null;
            string? place = after is null ? null : keys.Of(after);
            foreach (string other in keys.All(resource.Key))
            {
                Guard(other);
                if (other == place)
                {
                    Put(other, after!);
                }
                else if (view.ModRevision(other) != 0)
                {
                    Delete(other);
                }
            }
            networks.UnionWith(after?.NamedNetworks ?? []);
            policies.Add(after?.NamedPolicy ?? "");
        }
        foreach (string network in networks.Where(n => !change.Changes.Any(c => c.Kind == Kind.Network && c.Name == n)))
        {
            Guard(keys.Network(network));
        }
        foreach (string policy in policies.Where(n => n.Length > 0 && !change.Changes.Any(c => c.Kind == Kind.Policy && c.Name == n)))
        {
            Guard(keys.Policy(policy));
        }
        foreach (string service in change.Of(Kind.Backend).Select(c => c.After).OfType<Backend>().Select(b => b.Service).Distinct()
            .Where(s => !change.Changes.Any(c => c.Kind == Kind.Service && c.Name == s)))
        {
            Guard(keys.Service(service));
        }
        if (change.Has(Kind.Network) || change.Changes.Any(c => c.Kind == Kind.Policy && c.After is null))
        {
            GuardAll(keys.Lasting, EndOf(keys.Root));
        }
        else if (change.Has(Kind.Service))
        {
            GuardAll(keys.Services, EndOf(keys.Services));
            GuardAll(keys.Networks, EndOf(keys.Networks));
            foreach (ResourceChange gone in change.Of(Kind.Service).Where(c => c.After is null))
            {
                GuardAll(keys.BackendsOf(gone.Name), EndOf(keys.BackendsOf(gone.Name)));
            }
        }
    }

    public TxnRequest Request { get; } = new();

    /// <summary>What is written where; null where something is deleted.</summary>
    public List<(string Key, Resource? Resource)> Writes { get; } = [];

    /// <summary>The first key behind all those that begin with a text.</summary>
    public static ByteString EndOf(string start) => ByteString.CopyFromUtf8(start[..^1] + (char)(start[^1] + 1));

    /// <summary>Tells the view that it succeeded.</summary>
    public void Succeeded(long revision)
    {
        foreach ((string key, Resource? resource) in Writes)
        {
            _view.Written(key, resource, revision);
        }
    }

    private void Guard(string key) => Request.Compare.Add(new Compare
    {
        Key = ByteString.CopyFromUtf8(key),
        Target = Compare.Types.CompareTarget.Mod,
        Result = Compare.Types.CompareResult.Equal,
        ModRevision = _view.ModRevision(key),
    });

    /// <summary>Nothing from a key on was changed behind our back.</summary>
    private void GuardAll(string start, ByteString end) => Request.Compare.Add(new Compare
    {
        Key = ByteString.CopyFromUtf8(start),
        RangeEnd = end,
        Target = Compare.Types.CompareTarget.Mod,
        Result = Compare.Types.CompareResult.Less,
        ModRevision = _view.Revision + 1,
    });

    private void Put(string key, Resource resource)
    {
        Writes.Add((key, resource));
        Request.Success.Add(new RequestOp { RequestPut = new PutRequest { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8(EtcdView.ToValue(resource)) } });
    }

    private void Delete(string key)
    {
        Writes.Add((key, null));
        Request.Success.Add(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = ByteString.CopyFromUtf8(key) } });
    }
}
