using System.Collections.Concurrent;
using System.Net;
using Dataplane.Control.Flannel;
using Dataplane.Control.State.Etcd;
using Dataplane.UnitTests.Control.Etcd;
using Etcdserverpb;
using Google.Protobuf;
using Grpc.Core;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>Many nodes that join, leave, crash and come back, on an etcd that is compacted and restarted meanwhile.</summary>
public sealed class FlannelClusterTests : IDisposable
{
    private const int Nodes = 24, Moves = 1000, Restarts = 3;

    private readonly EtcdServer _etcd = new();
    private readonly FlannelConfig _config = FlannelConfigReader.Read(
        """{"Network": "10.5.0.0/24", "SubnetLen": 29, "EnableIPv6": true, "IPv6Network": "fd00:5::/120", "IPv6SubnetLen": 125, "Backend": {"Type": "vxlan"}}""");

    public void Dispose() => _etcd.Dispose();

    /// <summary>
    /// 31 subnets of each family for 24 nodes. Whoever has a lease notes it; nobody may ever have one that overlaps another's.
    /// </summary>
    [Fact]
    public async Task AddressesStayUniqueOverAThousandJoinsAndLeaves()
    {
        var held = new ConcurrentDictionary<int, LeaseSubnets>();
        var overlaps = new ConcurrentQueue<string>();
        var claims = new Lock();
        int moves = 0, joins = 0;
        await using FlannelNode watcher = new(_etcd.Address, 250);

        Task[] nodes = [.. Enumerable.Range(1, Nodes).Select(number => Task.Run(async () =>
        {
            var random = new Random(number);
            var manager = new SubnetManager(TimeProvider.System, random, SubnetManager.DefaultTerm);
            LeaseAttributes node = FlannelPlanner.Describe(_config, FlannelNode.Prefix, IPAddress.Parse($"192.0.2.{number}"), IPAddress.Parse($"2001:db8::{number:x}"));
            LeaseSubnets? before = null;
            using var connection = new EtcdConnection(FlannelNode.Etcd(_etcd.Address), _etcd.Address);
            var registry = new LeaseRegistry(connection, FlannelNode.Prefix);
            while (Interlocked.Increment(ref moves) <= Moves)
            {
                HeldLease lease = await Insist(() => manager.AcquireAsync(registry, _config, node, random.Next(2) == 0 ? before : null, CancellationToken.None));
                Interlocked.Increment(ref joins);
                before = lease.Subnets;
                lock (claims)
                {
                    foreach ((int other, LeaseSubnets subnets) in held.Where(h => h.Key != number && h.Value.Overlaps(lease.Subnets)))
                    {
                        overlaps.Enqueue($"{number} has {lease.Subnets} while {other} has {subnets}");
                    }
                    held[number] = lease.Subnets;
                }
                if (random.Next(4) != 0)
                {
                    // It leaves: its lease ends, by itself or by the operator. Otherwise it crashes, and comes back to its own.
                    held.TryRemove(number, out _);
                    await Insist(async () =>
                    {
                        if (random.Next(2) == 0)
                        {
                            return (object)await connection.Leases.LeaseRevokeAsync(new LeaseRevokeRequest { ID = lease.EtcdLease }, connection.Short());
                        }
                        return await connection.Kv.DeleteRangeAsync(new DeleteRangeRequest { Key = ByteString.CopyFromUtf8(FlannelNode.Subnets + lease.Subnets.Key) }, connection.Short());
                    });
                }
            }
        }))];

        for (int i = 1; i <= Restarts; i++)
        {
            while (Volatile.Read(ref moves) < i * Moves / (Restarts + 1))
            {
                await Task.Delay(5);
            }
            _etcd.Compact();
            _etcd.Stop();
            _etcd.Start();
        }
        await Task.WhenAll(nodes);
        Assert.Empty(overlaps);
        Assert.Equal(Moves, joins);

        // Who has a lease has its key, nobody else has one, and who has watched all the time knows just that.
        _etcd.Put(FlannelNode.ConfigKey, """{"Network": "10.6.0.0/16", "Backend": {"Type": "vxlan"}}""");
        await watcher.Until(n => n.Subnet is not null && n.Others.SequenceEqual(held.Values.Select(s => s.Key).Order(StringComparer.Ordinal)));
        Assert.Equal(held.Values.Select(s => FlannelNode.Subnets + s.Key).Append(FlannelNode.Subnets + watcher.Subnet).Append(FlannelNode.ConfigKey).Order(StringComparer.Ordinal), _etcd.Keys());
    }

    /// <summary>As a node does: while etcd is away it tries again.</summary>
    private static async Task<T> Insist<T>(Func<Task<T>> action)
    {
        for (int i = 0; ; i++)
        {
            try
            {
                return await action();
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
            {
                return default!; // it was done before the answer was lost
            }
            catch (RpcException) when (i < 1000)
            {
                await Task.Delay(20);
            }
        }
    }
}
