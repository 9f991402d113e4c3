using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>No lease can be had now, and why.</summary>
internal sealed class NoLeaseException(string message) : Exception(message);

/// <summary>
/// Takes and renews subnet leases by flannel's rules (pkg/subnet/etcd/local_manager.go): a node that has a lease already,
/// known by its public address, keeps it; else it takes the subnet it had before, if that is free and still allowed; else one
/// of the free ones by chance. Whoever loses a race looks again.
/// <para>
/// Two things differ from flanneld, and harm it in nothing. A renewal is etcd's keep-alive of the same lease, so that it does
/// not wake every other node; and a reservation (a key that never ends) stays one.
/// </para>
/// </summary>
/// <param name="clock">Time.</param>
/// <param name="random">Chance.</param>
/// <param name="term">How long a lease lasts.</param>
internal sealed class SubnetManager(TimeProvider clock, Random random, TimeSpan term)
{
    /// <summary>flannel's.</summary>
    public static readonly TimeSpan DefaultTerm = TimeSpan.FromHours(24);

    // Every failed attempt means that another node got its lease: with so many at once, half a cluster is starting.
    private const int Attempts = 100;

    /// <summary>Takes a lease.</summary>
    /// <param name="registry">flannel's keys.</param>
    /// <param name="config">The network.</param>
    /// <param name="node">What the lease is to say of this node.</param>
    /// <param name="previous">Subnets this node had before.</param>
    /// <param name="cancel">The end.</param>
    /// <exception cref="NoLeaseException">None can be had.</exception>
    /// <exception cref="Grpc.Core.RpcException">etcd does not answer.</exception>
    public async Task<HeldLease> AcquireAsync(LeaseRegistry registry, FlannelConfig config, LeaseAttributes node, LeaseSubnets? previous, CancellationToken cancel)
    {
        string json = node.ToJson();
        (long Id, TimeSpan Term, long Since)? granted = null;
        bool used = false;
        try
        {
            for (int i = 0; i < Attempts; i++)
            {
                LeaseListing listing = await registry.ListAsync(cancel);
                SubnetLease? own = await FindOwnAsync(registry, listing, config, node, cancel);
                if (own is not null && await KeepAsync(registry, own, listing, json, cancel) is { } kept)
                {
                    return kept;
                }
                long since = clock.GetTimestamp();
                if (granted is null)
                {
                    (long id, TimeSpan length) = await registry.GrantAsync(term, cancel);
                    granted = (id, length, since);
                }
                LeaseSubnets subnets = own?.Subnets ?? Choose(config, listing, previous);
                long? revision = own is null
                    ? await registry.CreateAsync(subnets, json, granted.Value.Id, listing, cancel)
                    : await registry.UpdateAsync(own, json, granted.Value.Id, cancel);
                if (revision is { } mine)
                {
                    used = true;
                    return new HeldLease(subnets, granted.Value.Id, mine, granted.Value.Since, granted.Value.Term);
                }
            }
        }
        finally
        {
            if (granted is { } left && !used)
            {
                await registry.RevokeAsync(left.Id);
            }
        }
        throw new NoLeaseException($"other nodes were faster {Attempts} times in taking a subnet");
    }

    /// <summary>Lets a lease begin anew; null when it is lost.</summary>
    public async Task<HeldLease?> RenewAsync(LeaseRegistry registry, HeldLease held, CancellationToken cancel)
    {
        if (held.IsReservation)
        {
            return held;
        }
        long since = clock.GetTimestamp();
        TimeSpan length = await registry.KeepAliveAsync(held.EtcdLease, cancel);
        return length > TimeSpan.Zero ? held with { Since = since, Term = length } : null;
    }

    /// <summary>The lease that this node has already. One that the network has outgrown is given back; a reservation is the operator's.</summary>
    private static async Task<SubnetLease?> FindOwnAsync(LeaseRegistry registry, LeaseListing listing, FlannelConfig config, LeaseAttributes node, CancellationToken cancel)
    {
        List<SubnetLease> own = [.. listing.Leases.Where(l => l.IsOf(node))];
        foreach (SubnetLease stale in own.Where(l => !config.Allows(l.Subnets) && !l.IsReservation))
        {
            await registry.DeleteAsync(stale, cancel);
        }
        return own.Where(l => config.Allows(l.Subnets)).OrderByDescending(l => l.IsReservation).FirstOrDefault();
    }

    /// <summary>Goes on with a reservation, or with a lease of etcd that is still alive; null when it takes a new one.</summary>
    private async Task<HeldLease?> KeepAsync(LeaseRegistry registry, SubnetLease own, LeaseListing listing, string json, CancellationToken cancel)
    {
        long since = clock.GetTimestamp();
        TimeSpan length = own.IsReservation ? term : await registry.KeepAliveAsync(own.EtcdLease, cancel);
        if (length < term)
        {
            return null;
        }
        bool same = own.Attributes?.ToJson() == json;
        long? revision = same ? listing.Revision : await registry.UpdateAsync(own, json, own.EtcdLease, cancel);
        return revision is { } mine ? new HeldLease(own.Subnets, own.EtcdLease, mine, since, length) : null;
    }

    private LeaseSubnets Choose(FlannelConfig config, LeaseListing listing, LeaseSubnets? previous) => new(
        Choose(config.IPv4, [.. listing.Leases.Select(l => l.Subnets.IPv4).OfType<Cidr>()], previous?.IPv4),
        Choose(config.IPv6, [.. listing.Leases.Select(l => l.Subnets.IPv6).OfType<Cidr>()], previous?.IPv6));

    private Cidr? Choose(SubnetPool? pool, List<Cidr> taken, Cidr? previous)
    {
        if (pool is null)
        {
            return null;
        }
        if (previous is { } before && pool.Allows(before) && !taken.Any(before.Overlaps))
        {
            return before;
        }
        return pool.Choose(taken, random) ?? throw new NoLeaseException($"all {pool.Count} subnets of {pool.Network} are leased");
    }
}
