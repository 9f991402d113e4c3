using System.Net;
using Dataplane.Control.Flannel;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Dataplane.UnitTests.Interop.Linux;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dataplane.UnitTests.Control.Flannel;

/// <summary>A member of a flannel network over a real etcd, without a switch.</summary>
internal sealed class FlannelNode : IAsyncDisposable
{
    public const string Prefix = "/coreos.com/network", ConfigKey = Prefix + "/config", Subnets = Prefix + "/subnets/";

    private readonly CancellationTokenSource _end = new();
    private readonly TempDirectory _directory;
    private readonly bool _ownsDirectory;
    private readonly Task _running;
    private volatile FlannelView _view = FlannelView.Nothing;

    /// <param name="server">etcd's address.</param>
    /// <param name="number">Last byte of its addresses.</param>
    /// <param name="directory">Where its subnet.env is; its own when null.</param>
    /// <param name="term">How long leases last.</param>
    public FlannelNode(string server, int number, TempDirectory? directory = null, TimeSpan? term = null)
    {
        _directory = directory ?? new TempDirectory();
        _ownsDirectory = directory is null;
        Options = new FlannelOptions
        {
            Underlay = "uplink",
            SubnetFile = _directory.File("subnet.env"),
            Interval = TimeSpan.FromMilliseconds(20),
            Term = term ?? SubnetManager.DefaultTerm,
        };
        var underlay = new Underlay("uplink", 1500, [new Cidr(IPAddress.Parse($"192.0.2.{number}"), 24), new Cidr(IPAddress.Parse($"2001:db8::{number:x}"), 64)]);
        var member = new FlannelMember(Etcd(server), Options, Clock, new Random(number), NullLogger.Instance);
        _running = member.RunAsync(
            view =>
            {
                if (view.State != _view.State)
                {
                    States.Enqueue(view);
                }
                _view = view;
                return Task.CompletedTask;
            },
            () => underlay, _end.Token);
    }

    public ManualTime Clock { get; } = new();
    public FlannelOptions Options { get; }
    public FlannelView View => _view;

    /// <summary>The first view of every state it was in.</summary>
    public System.Collections.Concurrent.ConcurrentQueue<FlannelView> States { get; } = new();

    public string? Subnet => View.State == LeaseState.Held ? View.Lease!.Subnets.Key : null;

    /// <summary>The keys of the other nodes' leases, in order.</summary>
    public IEnumerable<string> Others => View.Leases.Select(l => l.Key).Where(k => k != Subnet).Order(StringComparer.Ordinal);

    public static EtcdOptions Etcd(string server) => new() { Servers = [server], Prefix = "/dp", Node = "n" };

    public static async Task<FlannelNode> Joined(string server, int number, TempDirectory? directory = null, TimeSpan? term = null)
    {
        var node = new FlannelNode(server, number, directory, term);
        await node.Until(n => n.Subnet is not null);
        return node;
    }

    /// <summary>Waits until something of the node holds.</summary>
    public async Task Until(Func<FlannelNode, bool> condition)
    {
        for (int i = 0; !condition(this); i++)
        {
            Assert.True(i < 2000, $"not in 20 s; {View.State} {View.Lease?.Subnets} {View.Reason}");
            Assert.False(_running.IsFaulted, _running.Exception?.ToString());
            await Task.Delay(10);
        }
    }

    public async ValueTask DisposeAsync()
    {
        if (_end.IsCancellationRequested)
        {
            return;
        }
        await _end.CancelAsync();
        await _running;
        _end.Dispose();
        if (_ownsDirectory)
        {
            _directory.Dispose();
        }
    }
}
