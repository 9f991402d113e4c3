using Dataplane.Control.State.Etcd;
using Etcdserverpb;
using Google.Protobuf;
using Grpc.Core;

namespace Dataplane.Control.Flannel;

/// <summary>Every lease at one moment.</summary>
/// <param name="Leases">The leases, those that cannot be read too: their subnets are taken all the same.</param>
/// <param name="Strangers">Keys that are no leases.</param>
/// <param name="Revision">etcd's revision of that moment.</param>
internal sealed record LeaseListing(IReadOnlyList<SubnetLease> Leases, IReadOnlyList<string> Strangers, long Revision);

/// <summary>
/// flannel's keys in one etcd: <c>PREFIX/config</c> and <c>PREFIX/subnets/SUBNET</c>. Every change is a transaction that
/// fails when the key is not as it was seen. Calls throw <see cref="RpcException"/> when etcd does not answer.
/// </summary>
internal sealed class LeaseRegistry(EtcdConnection connection, string prefix)
{
    private readonly string _subnets = $"{prefix}/subnets/";

    /// <summary>Where the configuration lies.</summary>
    public string ConfigKey { get; } = $"{prefix}/config";

    public ByteString Start => ByteString.CopyFromUtf8(_subnets);

    public ByteString End => EtcdTransaction.EndOf(_subnets);

    /// <summary>The name of a lease's key without what all of them begin with.</summary>
    public string NameOf(ByteString key) => key.ToStringUtf8()[_subnets.Length..];

    /// <summary>The network's configuration; null when there is none.</summary>
    public async Task<string?> ReadConfigAsync(CancellationToken cancel)
    {
        RangeResponse found = await connection.Kv.RangeAsync(new RangeRequest { Key = ByteString.CopyFromUtf8(ConfigKey) }, connection.Short(cancel));
        return found.Kvs.FirstOrDefault()?.Value.ToStringUtf8();
    }

    public async Task<LeaseListing> ListAsync(CancellationToken cancel)
    {
        RangeResponse all = await connection.Kv.RangeAsync(new RangeRequest { Key = Start, RangeEnd = End }, connection.Short(cancel));
        var leases = new List<SubnetLease>();
        var strangers = new List<string>();
        foreach (Mvccpb.KeyValue pair in all.Kvs)
        {
            if (SubnetLease.Read(NameOf(pair.Key), pair) is { } lease)
            {
                leases.Add(lease);
            }
            else
            {
                strangers.Add(NameOf(pair.Key));
            }
        }
        return new LeaseListing(leases, strangers, all.Header.Revision);
    }

    /// <summary>A new lease of etcd, nothing attached.</summary>
    public async Task<(long Id, TimeSpan Term)> GrantAsync(TimeSpan term, CancellationToken cancel)
    {
        LeaseGrantResponse granted = await connection.Leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = (long)term.TotalSeconds }, connection.Short(cancel));
        return (granted.ID, TimeSpan.FromSeconds(granted.TTL));
    }

    /// <summary>Ends a lease of etcd. That it has ended before is no error.</summary>
    public async Task RevokeAsync(long id)
    {
        try
        {
            await connection.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = id }, connection.Short());
        }
        catch (RpcException)
        {
            // With nothing attached it ends by itself, and nobody misses it.
        }
    }

    /// <summary>Lets a lease of etcd begin anew. Gives how long it lasts from now on; zero when it has ended.</summary>
    public async Task<TimeSpan> KeepAliveAsync(long id, CancellationToken cancel)
    {
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> call = connection.Leases.LeaseKeepAlive(connection.Short(cancel));
        try
        {
            await call.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = id }, cancel);
            if (await call.ResponseStream.MoveNext(cancel))
            {
                return TimeSpan.FromSeconds(Math.Max(0, call.ResponseStream.Current.TTL));
            }
            throw new RpcException(new Status(StatusCode.Unavailable, "it did not answer a renewal"));
        }
        catch (Exception e) when (e is IOException or InvalidOperationException)
        {
            // What a stream's writing ends with when the connection breaks under it.
            throw new RpcException(new Status(StatusCode.Unavailable, e.Message, e));
        }
    }

    /// <summary>
    /// Makes the key of a new lease, unless any lease was made since a listing: with two address families, or subnets of
    /// several lengths, another key can stand for the same addresses. Gives etcd's revision, or null when it lost the race.
    /// </summary>
    public Task<long?> CreateAsync(LeaseSubnets subnets, string json, long etcdLease, LeaseListing listing, CancellationToken cancel) =>
        CommitAsync(
            Put(subnets, json, etcdLease),
            [
                new Compare { Key = Key(subnets), Target = Compare.Types.CompareTarget.Version, Result = Compare.Types.CompareResult.Equal, Version = 0 },
                new Compare { Key = Start, RangeEnd = End, Target = Compare.Types.CompareTarget.Create, Result = Compare.Types.CompareResult.Less, CreateRevision = listing.Revision + 1 },
            ],
            cancel);

    /// <summary>Gives a lease another value, and another end; null when it was changed since it was read.</summary>
    public Task<long?> UpdateAsync(SubnetLease lease, string json, long etcdLease, CancellationToken cancel) =>
        CommitAsync(Put(lease.Subnets, json, etcdLease), [AsRead(lease)], cancel);

    /// <summary>Removes a lease; null when it was changed since it was read.</summary>
    public Task<long?> DeleteAsync(SubnetLease lease, CancellationToken cancel) =>
        CommitAsync(new RequestOp { RequestDeleteRange = new DeleteRangeRequest { Key = Key(lease.Subnets) } }, [AsRead(lease)], cancel);

    private ByteString Key(LeaseSubnets subnets) => ByteString.CopyFromUtf8(_subnets + subnets.Key);

    private RequestOp Put(LeaseSubnets subnets, string json, long etcdLease) =>
        new() { RequestPut = new PutRequest { Key = Key(subnets), Value = ByteString.CopyFromUtf8(json), Lease = etcdLease } };

    private Compare AsRead(SubnetLease lease) =>
        new() { Key = Key(lease.Subnets), Target = Compare.Types.CompareTarget.Mod, Result = Compare.Types.CompareResult.Equal, ModRevision = lease.Modified };

    private async Task<long?> CommitAsync(RequestOp change, Compare[] guards, CancellationToken cancel)
    {
        var transaction = new TxnRequest();
        transaction.Compare.AddRange(guards);
        transaction.Success.Add(change);
        try
        {
            TxnResponse answer = await connection.Kv.TxnAsync(transaction, connection.Short(cancel));
            return answer.Succeeded ? answer.Header.Revision : null;
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
        {
            return null; // etcd's lease ended just now, and the key with it
        }
    }
}
