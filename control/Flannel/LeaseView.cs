using Mvccpb;

namespace Dataplane.Control.Flannel;

/// <summary>All leases, as far as the watch has told. A lease that ends is a key that goes away.</summary>
internal sealed class LeaseView
{
    private readonly Dictionary<string, SubnetLease> _leases = new(StringComparer.Ordinal);
    private readonly SortedSet<string> _strangers = new(StringComparer.Ordinal);

    /// <summary>etcd's revision up to which everything is known.</summary>
    public long Revision { get; private set; }

    /// <summary>The oldest first.</summary>
    public IReadOnlyList<SubnetLease> Leases => [.. _leases.Values.OrderBy(l => l.Created).ThenBy(l => l.Key, StringComparer.Ordinal)];

    /// <summary>Keys that are no leases.</summary>
    public IReadOnlyCollection<string> Strangers => _strangers;

    public SubnetLease? Find(string key) => _leases.GetValueOrDefault(key);

    /// <summary>Begins anew with a whole listing.</summary>
    public void Replace(LeaseListing listing)
    {
        _leases.Clear();
        _strangers.Clear();
        foreach (SubnetLease lease in listing.Leases)
        {
            _leases[lease.Key] = lease;
        }
        _strangers.UnionWith(listing.Strangers);
        Revision = listing.Revision;
    }

    /// <summary>Takes up one event of the watch.</summary>
    public void Apply(string name, Event told)
    {
        // Not the revision in the answer's header: with a backlog that is ahead of the events.
        Revision = Math.Max(Revision, told.Kv.ModRevision);
        _leases.Remove(name);
        _strangers.Remove(name);
        if (told.Type == Event.Types.EventType.Put)
        {
            if (SubnetLease.Read(name, told.Kv) is { } lease)
            {
                _leases[name] = lease;
            }
            else
            {
                _strangers.Add(name);
            }
        }
    }
}
