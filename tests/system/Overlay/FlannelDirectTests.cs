using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Nodes on one link that need no tunnel: containers' packets cross it as they are.</summary>
public sealed class FlannelDirectTests
{
    private const string Networks = """ "Network": "10.5.0.0/16", "EnableIPv6": true, "IPv6Network": "fd00:5::/48" """;

    [Theory]
    [InlineData("""{"Type": "vxlan", "DirectRouting": true}""", 1430)] // for nodes elsewhere there may still be a tunnel
    [InlineData("""{"Type": "host-gw"}""", 1500)]
    public void PacketsAreRoutedFromNodeToNode(string backend, int mtu)
    {
        using var cluster = new FlannelCluster($"{{{Networks}, \"Backend\": {backend}}}", nodes: 2);
        using Recording tunnelled = cluster.Record("udp port 8472"), direct = cluster.Record("icmp or icmp6");
        cluster.IsWhole();
        KubernetesRules.Hold([.. cluster.Nodes.SelectMany(n => n.Stations)]);
        Station[] ends = [.. cluster.Nodes.SelectMany(n => n.Stations.Where(s => s.Namespace == n.Container!.Namespace))];
        foreach ((Station from, Station to) in KubernetesRules.Pairs(ends))
        {
            Assert.Contains($"mtu {mtu}", from.Namespace.Do("ip", "link", "show", "dev", from.Device), StringComparison.Ordinal);
            Ping.Reaches(from, to.Address, mtu, "-M", "do");
        }
        direct.WaitFor(frame => frame.Length == mtu + 14, "a packet of the largest size");
        Assert.Empty(tunnelled.Frames);
        Assert.All(cluster.Nodes, n => Accounts.Balance(n.Switch));
    }
}
