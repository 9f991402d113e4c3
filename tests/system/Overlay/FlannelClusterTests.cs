using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Some nodes of a flannel network, one etcd, and a link between them.</summary>
public sealed class FlannelCluster : IDisposable
{
    public const string Prefix = "/coreos.com/network", Subnets = Prefix + "/subnets/";
    public const string Config = """{"Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48", "Backend": {"Type": "vxlan"}}""";

    private readonly Wire _wire = new();

    public FlannelCluster() : this(Config, nodes: 3)
    {
    }

    /// <param name="config">Of the network, with both address families.</param>
    /// <param name="nodes">How many.</param>
    internal FlannelCluster(string config, int nodes)
    {
        try
        {
            Etcd = new Etcd(_wire.Namespace, listenOn: _wire.Address);
            Etcd.Put($"{Prefix}/config", config);
            for (int number = 1; number <= nodes; number++)
            {
                var node = new FlannelNode(number, Etcd.Address);
                Nodes.Add(node);
                _wire.Connect(node.Switch.Host, number);
                node.Switch.Start();
                node.AddContainer();
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Etcd Etcd { get; } = null!;
    public List<FlannelNode> Nodes { get; } = [];

    /// <summary>Records what the first node sends to the link and receives from it.</summary>
    public Recording Record(string filter) => new(_wire.Namespace, Wire.End(1), filter);

    public void Dispose()
    {
        Nodes.ForEach(n => n.Dispose());
        Etcd?.Dispose();
        _wire.Dispose();
    }

    /// <summary>The keys of all leases, in order.</summary>
    public IReadOnlyList<(string Key, string Value)> Leases => Etcd.List(Subnets);

    /// <summary>The key of a node's lease.</summary>
    public static string KeyOf(FlannelNode node) => Subnets + string.Join('&', node.Status.Subnets.Select(s => s.Replace('/', '-')));

    /// <summary>
    /// Every node has a lease that no other has a part of, etcd says the same, every node knows the others, and whoever has an
    /// address in the cluster reaches everyone who has.
    /// </summary>
    public void IsWhole()
    {
        foreach (FlannelNode node in Nodes)
        {
            Until.True(
                () => node.Status is { State: FlannelStatus.Types.State.Leased, Reason: "", Problems.Count: 0 } status && status.Peers == Nodes.Count - 1,
                $"node {node.Number} is in step", () => $"{node.Status}\n{node.Switch.Log}");
            foreach (string port in new[] { "uplink", "dp0", "pod" })
            {
                node.Switch.WaitFor(port, PortStatus.Types.State.Up);
            }
        }
        IReadOnlyList<(string Key, string Value)> leases = Leases;
        Assert.Equal(Nodes.Select(KeyOf).Order(StringComparer.Ordinal), leases.Select(l => l.Key));
        Assert.Equal(2 * Nodes.Count, Nodes.SelectMany(n => n.Status.Subnets).Distinct().Count()); // all of one length, so none is part of another
        Assert.All(Nodes, n => Assert.Contains($"\"PublicIP\":\"{n.PublicIP}\"", leases.Single(l => l.Key == KeyOf(n)).Value, StringComparison.Ordinal));
        Station[] stations = [.. Nodes.SelectMany(n => n.Stations)];
        Assert.Equal(stations.Length, stations.Select(s => s.Address).Distinct().Count());
        foreach ((Station from, Station to) in KubernetesRules.Pairs(stations))
        {
            new Conversation(from, to).Connects(() => string.Join('\n', Nodes.Select(n => $"{n.Status}\n{n.Switch.Log}")));
        }
        Nodes.ForEach(n => Accounts.Balance(n.Switch));
    }
}

/// <summary>
/// Nodes join, leave, crash and come back; etcd is compacted, stopped and started. Before and after each of it the cluster is whole.
/// </summary>
public sealed class FlannelClusterTests : IClassFixture<FlannelCluster>
{
    private const string FourthNode = """{"PublicIP":"192.0.2.4","PublicIPv6":"2001:db8::4","BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"},"BackendV6Data":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:46"}}""";

    private readonly FlannelCluster _cluster;
    private readonly FlannelNode _one, _two, _three;

    public FlannelClusterTests(FlannelCluster cluster)
    {
        cluster.IsWhole();
        (_cluster, _one, _two, _three) = (cluster, cluster.Nodes[0], cluster.Nodes[1], cluster.Nodes[2]);
    }

    [Fact]
    public void EveryoneIsSeenByTheAddressHeHas() => KubernetesRules.Hold([.. _cluster.Nodes.SelectMany(n => n.Stations)]);

    /// <summary>An orderly end leaves the lease, as flanneld's does: the node is back before the others need to know.</summary>
    [Fact]
    public void ANodeThatWasStoppedHasItsSubnetAgain()
    {
        string subnet = _three.Subnet;
        using (ContinuousPing others = Ping.Start(_one.Container!, _two.Container!.Address, "0.01"))
        {
            _three.Switch.Do("stop");
            Until.True(() => !Remains.Processes(_three.Switch.Instance).Any(), "node 3 has ended", () => _three.Switch.Log);
            Ping.DoesNotReach(_one.Container!, _three.Container!.Address);
            Assert.Equal((2u, 3), (_one.Status.Peers, _cluster.Leases.Count));
            _three.Switch.Start();
            Assert.Equal(subnet, _three.Subnet);
            _cluster.IsWhole();
            Assert.Empty(others.End());
        }
    }

    /// <summary>Its lease ends, and the others forget it.</summary>
    [Fact]
    public void ANodeThatLeavesIsForgottenAndMayJoinAgain()
    {
        using ContinuousPing others = Ping.Start(_one.Container!, _two.Container!.Address, "0.01");
        string subnet = _three.Subnet, key = FlannelCluster.KeyOf(_three);
        _three.Switch.Do("stop");
        _cluster.Etcd.Delete(key);
        foreach (FlannelNode node in new[] { _one, _two })
        {
            Until.True(() => node.Status.Peers == 1, $"node {node.Number} forgets", () => $"{node.Status}\n{node.Switch.Log}");
            Until.Holds(() =>
            {
                Assert.DoesNotContain(subnet, node.Switch.Do("get", "route"), StringComparison.Ordinal);
                Assert.DoesNotContain(_three.PublicIP, node.Switch.Do("get", "tunnel-peer"), StringComparison.Ordinal);
            });
        }
        _three.Switch.Start(); // its subnet.env has the old subnet, which nobody took
        Assert.Equal(subnet, _three.Subnet);
        _cluster.IsWhole();
        Assert.Empty(others.End());
    }

    [Fact]
    public void ANodeThatCrashesComesBack()
    {
        string subnet = _two.Subnet;
        using ContinuousPing others = Ping.Start(_one.Container!, _three.Container!.Address, "0.01");
        Remains.KillAll(_two.Switch.Instance);
        Assert.Equal(2u, _one.Status.Peers); // for the others it is there until its lease ends
        others.WaitForMore(50);
        _two.Switch.Start();
        Assert.Equal(subnet, _two.Subnet);
        _cluster.IsWhole();
        Assert.Empty(others.End());
    }

    /// <summary>And while it was away, another took its place: it finds the subnet leased, and takes another.</summary>
    [Fact]
    public void ANodeThatWasAwayTooLongTakesAnotherSubnet()
    {
        string subnet = _two.Subnet, key = FlannelCluster.KeyOf(_two);
        Remains.KillAll(_two.Switch.Instance);
        _cluster.Etcd.Put(key, FourthNode);
        _two.Switch.Start();
        Assert.NotEqual(subnet, _two.Subnet);
        Until.True(() => _one.Status.Peers == 3 && _three.Status.Peers == 3, "the fourth node is known", () => $"{_one.Status}\n{_one.Switch.Log}");
        // Its container still has the old subnet, which the fourth node has now.
        Assert.Contains(_two.Status.Problems, p => p.Contains($"another node has leased what containers of this node use ({subnet})", StringComparison.Ordinal));
        _two.AddContainer();
        Until.True(() => _two.Status is { Peers: 3, Problems.Count: 0 }, "the old subnet is given up", () => $"{_two.Status}\n{_two.Switch.Log}");
        _cluster.Etcd.Delete(key);
        _cluster.IsWhole();
    }

    /// <summary>Nothing is forgotten while etcd is away, and what happened behind a compaction is found out.</summary>
    [Fact]
    public void EtcdIsCompactedStoppedAndStarted()
    {
        const string Fourth = FlannelCluster.Subnets + "10.5.0.0-24&fd00:5::-64"; // no node takes the first subnet
        using ContinuousPing ping = Ping.Start(_one.Container!, _two.Container!.Address, "0.01");
        _cluster.Etcd.Compact();
        _cluster.Etcd.Stop();
        Until.True(() => _cluster.Nodes.All(n => !n.Switch.Api.Status.Store.Available && n.Status.Reason.Length > 0), "all notice", () => string.Join('\n', _cluster.Nodes.Select(n => n.Status)));
        Assert.All(_cluster.Nodes, n => Assert.Equal((FlannelStatus.Types.State.Leased, 2u), (n.Status.State, n.Status.Peers)));
        _two.Switch.Stop(LinuxProcess.SIGKILL); // the control process alone: packets go on
        ping.WaitForMore(50);
        _cluster.Etcd.Start();
        _cluster.Etcd.Put(Fourth, FourthNode);
        Until.True(() => _one.Status.Peers == 3 && _three.Status.Peers == 3, "the fourth node is known", () => $"{_one.Status}\n{_one.Switch.Log}");
        _cluster.Etcd.Delete(Fourth);
        _cluster.Etcd.Compact();
        _two.Switch.Start();
        _cluster.IsWhole();
        Assert.Empty(ping.End());
    }

    /// <summary>A lease is lost and none can be had: packets go on, containers are not taken, the operator is told.</summary>
    [Fact]
    public void ANodeThatLostItsLeaseForwardsAndTakesNoContainers()
    {
        using ContinuousPing ping = Ping.Start(_one.Container!, _one.Host.Address, "0.01");
        string subnet = _one.Subnet;
        _cluster.Etcd.Delete($"{FlannelCluster.Prefix}/config");
        _cluster.Etcd.Delete(FlannelCluster.KeyOf(_one));
        Until.True(() => _one.Status.State == FlannelStatus.Types.State.Lost, "node 1 has lost it", () => $"{_one.Status}");
        Namespace late = _one.Switch.Container("late");
        string yaml = $"ports: [{{name: late, network: flannel, tap: {{netns: {late.Name}}}}}]";
        _one.Switch.TryApply(yaml).Says("is lost");
        _one.Switch.Shows("is lost: its key was deleted", "events");
        _one.Switch.Shows("is lost", "status");
        Assert.Equal(2u, _one.Status.Peers);
        ping.WaitForMore(20);
        _cluster.Etcd.Put($"{FlannelCluster.Prefix}/config", FlannelCluster.Config);
        _cluster.IsWhole();
        Assert.Equal(subnet, _one.Subnet);
        _one.Switch.Apply(yaml);
        _one.Switch.Do("port", "delete", "late");
        Assert.Empty(ping.End());
    }
}
