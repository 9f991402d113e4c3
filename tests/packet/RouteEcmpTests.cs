using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>Equal-cost multi-path (RFC 2992): every flow keeps its way, and the flows are spread.</summary>
public sealed class RouteEcmpTests
{
    private const string A4 = "10.0.1.2", A6 = "fd00:1::2", To4 = "192.0.2.1", To6 = "2001:db8::1";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void AFlowKeepsItsWay(bool v6)
    {
        using RouteLab lab = Lab();
        for (int flow = 0; flow < 200; flow++)
        {
            Ip packet = v6 ? Ip.OfUdp(A6, To6, 1000 + flow, 53) : Ip.OfUdp(A4, To4, 1000 + flow, 53);
            lab.Send(1, [.. Enumerable.Repeat(packet, 5)]);
            Assert.Equal([0, 0, 5], new[] { 2, 3, 4 }.Select(port => lab.Take(port).Count).Order());
        }
    }

    [Theory]
    [InlineData(false, "ports")]
    [InlineData(false, "addresses")]
    [InlineData(true, "ports")]
    [InlineData(true, "addresses")]
    public void FlowsAreSpread(bool v6, string what)
    {
        using RouteLab lab = Lab();
        int[] counts = new int[3];
        for (int flow = 0; flow < 3000; flow += 50)
        {
            lab.Send(1, [.. Enumerable.Range(flow, 50).Select(i => (v6, what) switch
            {
                (false, "ports") => Ip.OfTcp(A4, To4, 1000 + i, 80, Inet.Ack),
                (true, "ports") => Ip.OfTcp(A6, To6, 1000 + i, 80, Inet.Ack),
                (false, _) => Ip.OfEcho(A4, $"192.0.{2 + (i >> 8)}.{i & 255}"),
                _ => Ip.OfEcho(A6, $"2001:db8::{i:x}"),
            })]);
            for (int i = 0; i < counts.Length; i++)
            {
                counts[i] += lab.Take(2 + i).Count;
            }
        }
        Assert.Equal(3000, counts.Sum());
        // 64 buckets among three: 21 or 22 each; six deviations of a fair draw more or less.
        Assert.All(counts, count => Assert.InRange(count, 850, 1150));
    }

    /// <summary>All fragments of a packet go one way, though only the first has ports.</summary>
    [Fact]
    public void FragmentsStayTogether()
    {
        using RouteLab lab = Lab();
        for (int flow = 0; flow < 200; flow++)
        {
            Ip packet = Ip.OfUdp(A4, $"192.0.2.{1 + flow}", 1000 + flow, 53);
            lab.Send(1, packet with { Fragment = 0x2000 }, packet with { Fragment = 0x2010 }, packet with { Fragment = 0x0020 });
            Assert.Equal([0, 0, 3], new[] { 2, 3, 4 }.Select(port => lab.Take(port).Count).Order());
        }
    }

    /// <summary>Another switch sends a flow the same way: the hash has no secret and no state.</summary>
    [Fact]
    public void EverySwitchChoosesTheSameWay()
    {
        int[][] choices = [.. Enumerable.Range(0, 2).Select(_ =>
        {
            using RouteLab lab = Lab();
            return Enumerable.Range(0, 100).Select(flow =>
            {
                lab.Send(1, Ip.OfUdp(A4, To4, flow, 53));
                return new[] { 2, 3, 4 }.Single(port => lab.Take(port).Count == 1);
            }).ToArray();
        })];
        Assert.Equal(choices[0], choices[1]);
    }

    [Fact]
    public void AGroupOfGroupsLeadsNowhere()
    {
        using RouteLab lab = Lab();
        uint inner = lab.Group(2, lab.NextHop(Gateway(2, "10.0.2.2")));
        lab.Route(1, "198.51.100.0/24", lab.Group(3, inner)).Send(1, Ip.OfUdp(A4, "198.51.100.1", 1, 2));
        Assert.Equal("1 NoRoute 1", lab.Switch.Drops());
    }

    private static RouteLab Lab()
    {
        RouteLab lab = new();
        lab.Routed(1, "10.0.1.1/24", "fd00:1::1/64");
        uint[] hops4 = new uint[3], hops6 = new uint[3];
        for (int i = 0; i < 3; i++)
        {
            int port = 2 + i;
            lab.Routed(port, $"10.0.{port}.1/24", $"fd00:{port}::1/64").Neighbour(port, $"10.0.{port}.2").Neighbour(port, $"fd00:{port}::2");
            hops4[i] = lab.NextHop(Gateway(port, $"10.0.{port}.2"));
            hops6[i] = lab.NextHop(Gateway(port, $"fd00:{port}::2"));
        }
        return lab.Route(1, "192.0.0.0/16", lab.Group(0, hops4)).Route(1, "2001:db8::/32", lab.Group(1, hops6));
    }
}
