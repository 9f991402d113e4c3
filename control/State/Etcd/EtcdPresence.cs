using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Etcdserverpb;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// Tells the other nodes that this one is there: a key with a lease, which etcd removes when the lease is not renewed any more. It
/// is for people to look at; nothing depends on it, so what goes wrong with it ends it and nothing else.
/// </summary>
internal static class EtcdPresence
{
    private const long LeaseSeconds = 10;
    private static readonly TimeSpan Renewal = TimeSpan.FromSeconds(3);

    /// <summary>Is there until the connection is given up. At the end of all it says that it goes.</summary>
    /// <param name="connection">To etcd; it lives longer than this.</param>
    /// <param name="key">See <see cref="EtcdKeys.Alive"/>.</param>
    /// <param name="started">Since when.</param>
    /// <param name="given">The connection is given up.</param>
    /// <param name="end">The end of all.</param>
    public static async Task HoldAsync(EtcdConnection connection, string key, DateTimeOffset started, CancellationToken given, CancellationToken end)
    {
        while (!given.IsCancellationRequested)
        {
            long lease = 0;
            try
            {
                lease = (await connection.Leases.LeaseGrantAsync(new LeaseGrantRequest { TTL = LeaseSeconds }, connection.Short(given))).ID;
                await HoldAsync(connection, lease, key, started, given);
            }
            catch (Exception e) when (e is RpcException or OperationCanceledException or InvalidOperationException)
            {
            }
            if (lease != 0 && end.IsCancellationRequested)
            {
                await RevokeAsync(connection, lease);
            }
            await Task.Delay(Renewal, given).ContinueWith(_ => { }, CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        }
    }

    private static async Task HoldAsync(EtcdConnection connection, long lease, string key, DateTimeOffset started, CancellationToken given)
    {
        var node = new Node { Version = NodeReader.Version, Started = started.ToTimestamp() };
        await connection.Kv.PutAsync(
            new PutRequest { Key = ByteString.CopyFromUtf8(key), Value = ByteString.CopyFromUtf8(EtcdView.ToValue(node)), Lease = lease }, connection.Short(given));
        using AsyncDuplexStreamingCall<LeaseKeepAliveRequest, LeaseKeepAliveResponse> renewals = connection.Leases.LeaseKeepAlive(connection.Long(given));
        do
        {
            await Task.Delay(Renewal, given);
            await renewals.RequestStream.WriteAsync(new LeaseKeepAliveRequest { ID = lease }, given);
        }
        while (await renewals.ResponseStream.MoveNext(given) && renewals.ResponseStream.Current.TTL > 0);
    }

    private static async Task RevokeAsync(EtcdConnection connection, long lease)
    {
        try
        {
            await connection.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = lease }, connection.Short());
        }
        catch (RpcException)
        {
            // It runs out by itself.
        }
    }
}
