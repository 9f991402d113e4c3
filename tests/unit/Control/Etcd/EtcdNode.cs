using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Dataplane.Control.State.Sqlite;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>A node of a cluster: a controller over cardboard, whose state is in a real etcd.</summary>
internal sealed class EtcdNode : IAsyncDisposable
{
    private readonly CancellationTokenSource _end = new();
    private readonly Task _following;

    /// <param name="options">Which etcd, and which node.</param>
    /// <param name="file">The node's own copy.</param>
    /// <param name="ownNetworks">Networks that the node makes itself.</param>
    public EtcdNode(EtcdOptions options, string file, params string[] ownNetworks)
    {
        Store = new EtcdStore(options, new SqliteStore(file), Log) { OwnNetworks = ownNetworks.ToHashSet() };
        Bench = new Bench(Store);
        Bench.Controller.ResumeAsync(CancellationToken.None).Wait();
        _following = Store.FollowAsync(() => Bench.Controller.State, Bench.Controller.FollowAsync, _end.Token);
    }

    /// <summary>All that the store says, of any level.</summary>
    public KeptLog Log { get; } = new();

    public EtcdStore Store { get; }
    public Bench Bench { get; }
    public DesiredState State => Bench.Controller.State;
    public StoreStatus Status => Bench.Controller.StoreStatus;

    public static async Task<EtcdNode> InStep(EtcdOptions options, string file)
    {
        var node = new EtcdNode(options, file);
        await node.Store.InStep.WaitAsync(TimeSpan.FromSeconds(20));
        return node;
    }

    /// <summary>Waits until something of the node holds.</summary>
    public async Task Until(Func<EtcdNode, bool> condition)
    {
        for (int i = 0; !condition(this); i++)
        {
            Assert.True(i < 2000, $"not in 20 s; {Status}");
            await Task.Delay(10);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _end.CancelAsync();
        await _following;
        Bench.Dispose();
        Store.Dispose();
        _end.Dispose();
    }
}
