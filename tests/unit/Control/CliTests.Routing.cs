using System.Text.Json;
using Dataplane.Control.Cli;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Control;

/// <summary>Routes, neighbours and tunnel peers on the command line.</summary>
public sealed partial class CliTests
{
    [Theory]
    [InlineData("route add", 2, "error: Required argument 'WORDS' missing")]
    [InlineData("route add 10.0.0.0/8 by 192.0.2.1", 2, "error: \"by\" is not understood; the words are: [ blackhole | unreachable | prohibit | services ] PREFIX")]
    [InlineData("route add 10.0.0.0/8 via", 2, "error: something is missing behind \"via\"")]
    [InlineData("route add 10.0.0.0/8 via 192.0.2.1 weight x", 2, "error: \"x\" is no weight")]
    [InlineData("route add 10.0.0.0/8 dev nowhere", 1, "error: \"nowhere\" is neither a network, a routed port nor a tunnel peer")]
    [InlineData("route add 10.0.0.0/8 via 192.0.2.1", 1, "error: route \"main/10.0.0.0/8\": 192.0.2.1 is in no subnet of VRF \"main\" ((there is none))")]
    [InlineData("route list vrf x", 1, "error: VRF \"x\" does not exist; VRFs: main")]
    [InlineData("route get nowhere", 1, "error: \"nowhere\" is not an IP address")]
    [InlineData("neigh add 10.0.0.1 lladdr 02:00:00:00:00:01", 2, "error: which neighbour? Give ADDRESS dev NETWORK|PORT")]
    [InlineData("neigh list nud", 2, "error: something is missing behind \"nud\"")]
    [InlineData("peer add p -n far", 2, "error: Option '--address' is required")]
    [InlineData("network add n --vtep 192.0.2.1", 2, "error: --vtep goes with --vni")]
    [InlineData("port add p -n n --vrf x", 2, "error: --vrf goes with --routed")]
    public async Task ASlipInRoutingHasItsTextAndExitCode(string command, int exitCode, string error)
    {
        (int code, string _, string said) = await RunAsync(command);
        Assert.Equal(exitCode, code);
        Assert.StartsWith(error, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task APersonMakesARoutedNetwork()
    {
        await MakeRouted();
        // As ip(8) prints it, and sorts it.
        Assert.Equal(
            """
            default dev dp0 proto kernel
            10.3.0.0/16 proto static
            	nexthop via 192.0.2.1 dev uplink weight 2
            	nexthop via 192.0.2.2 dev uplink weight 1
            10.4.0.0/16 via 198.51.100.1 dev uplink proto static
            10.244.2.0/24 dev node2 proto static scope link
            blackhole 172.16.0.0/12 proto static
            172.18.0.0/16 dev blue proto kernel scope link src 172.18.0.1
            192.0.2.0/24 dev uplink proto kernel scope link src 192.0.2.10

            """.ReplaceLineEndings("\n"),
            await Succeeds("route", "."));
        await Succeeds("route list dev node2", "^10.244.2.0/24 dev node2 proto static scope link\n$");
        await Succeeds("route list vrf guests", "^10.9.0.0/16 dev guests proto kernel scope link src 10.9.0.1 vrf guests\n$");
        await Succeeds("route list --local", "(?m)^local 172.18.0.1 dev blue proto kernel scope host src 172.18.0.1$");
        await Succeeds("route list vrf all -o wide", "guests +10.9.0.0/16 +unicast +interface +dev guests +yes +10.9.0.1");
        using JsonDocument json = JsonDocument.Parse(await Succeeds("route list -o json", "."));
        Assert.Equal(7, json.RootElement.GetProperty("routes").GetArrayLength());
        await Succeeds("get routes", "main +10.244.2.0/24 +unicast +peer node2 +active");
        await Succeeds("network list -o wide", "far +- +- +02:[0-9a-f:]+ +1450 +no +main +100 +192.0.2.10 +1 ");
        await Succeeds("port list", "uplink +\\(routed\\) +up +memory +- +192.0.2.10/24|uplink +\\(routed\\) +up +memory +192.0.2.10/24");
        await Succeeds("peer list", "node2 +far +up +192.0.2.20 +02:00:00:00:99:01 +192.0.2.10 +uplink");
        await Succeeds("stats", "(?s)blue.router +blue +0 .*node2 +far +0 ");
    }

    [Fact]
    public async Task WhatIsMadeInRoutingIsDeleted()
    {
        await MakeRouted();
        await Succeeds("route replace 10.4.0.0/16 via 192.0.2.9", "(?s)route \"main/10.4.0.0/16\" updated\n  next_hops: ");
        await Succeeds("route delete 10.4.0.0/16", "route \"main/10.4.0.0/16\" deleted");
        await Succeeds("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev uplink", "neighbour \"uplink/192.0.2.9\" created");
        await Succeeds("neigh list dev uplink", "^192.0.2.9 dev uplink lladdr 02:00:00:00:00:09 PERMANENT\n$");
        await Succeeds("neigh list dev blue nud permanent", "^172.18.0.2 dev blue lladdr 02:[0-9a-f:]+ PERMANENT\n$");
        await Succeeds("neigh delete 192.0.2.9 dev uplink", "neighbour \"uplink/192.0.2.9\" deleted");
        (int code, string _, string error) = await RunAsync("peer delete node2");
        Assert.Equal((1, "error: tunnel peer \"node2\": is used by route \"main/10.244.2.0/24\"; delete these first, or in the same call\n"), (code, error));
        await Succeeds("route delete 10.244.2.0/24", "deleted");
        await Succeeds("peer delete node2", "tunnel peer \"node2\" deleted");
    }

    [Fact]
    public async Task ALookUpSaysWhatTheTablesSay()
    {
        await MakeRouted();
        Learn("uplink", 0xC000_0201, NeighbourState.Stale);
        await Succeeds("route get 10.4.5.6", "^10.4.5.6 via 198.51.100.1 dev uplink src 192.0.2.10\n    by 10.4.0.0/16\n    neighbour 198.51.100.1 dev uplink NONE\n$");
        await Succeeds("route get 192.0.2.1", "^192.0.2.1 dev uplink src 192.0.2.10\n    by 192.0.2.0/24\n    neighbour 192.0.2.1 dev uplink lladdr 02:00:00:00:00:77 STALE\n$");
        await Succeeds("route get 10.3.0.1", "(?s)^10.3.0.1 src 192.0.2.10\n    by 10.3.0.0/16\n\tnexthop via 192.0.2.1 dev uplink weight \\d+\n\tnexthop via 192.0.2.2 dev uplink weight \\d+\n    neighbour 192.0.2.1 .*STALE\n    neighbour 192.0.2.2 dev uplink NONE\n$");
        await Succeeds("route get 172.18.0.1", "^local 172.18.0.1 dev blue src 172.18.0.1\n    by 172.18.0.1/32\n$");
        await Succeeds("route get 172.17.0.1", "^blackhole 172.17.0.1\n    by 172.16.0.0/12\n$");
        await Succeeds("route get 10.244.2.7", "^10.244.2.7 dev node2\n    by 10.244.2.0/24\n$");
        await Succeeds("route get 8.8.8.8 vrf guests", "^unreachable 8.8.8.8\n$");
        await Succeeds("neigh", "(?m)^192.0.2.1 dev uplink lladdr 02:00:00:00:00:77 STALE$");
        await Succeeds("neigh list -o wide", "uplink +192.0.2.1 +02:00:00:00:00:77 +stale +no");
    }

    [Fact]
    public async Task WhatIsShownOfRoutingCanBeAppliedAgain()
    {
        await MakeRouted();
        await Succeeds("neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev uplink", "created");
        string file = Path.Combine(_directory, "all.yaml");
        await File.WriteAllTextAsync(file, await Succeeds("get all -o yaml", "(?s)networks:.*tunnel_peers:.*neighbours:.*routes:"));
        await Succeeds($"apply -f {file}", "(?s)route \"main/10.3.0.0/16\" unchanged");
        Assert.DoesNotContain("updated", await Succeeds($"apply -f {file}", "."), StringComparison.Ordinal);
        await Succeeds($"delete -f {file}", "(?s)network \"blue\" deleted.*route \"main/10.3.0.0/16\" deleted");
    }

    public static TheoryData<string, string, string> Words { get; } = new()
    {
        { "default via 192.0.2.1", "{ \"prefix\": \"0.0.0.0/0\", \"nextHops\": [ { \"via\": \"192.0.2.1\" } ] }", "" },
        { "default via 2001:db8::1", "{ \"prefix\": \"::/0\", \"nextHops\": [ { \"via\": \"2001:db8::1\" } ] }", "" },
        { "10.0.0.0/8 via inet 192.0.2.1 dev up onlink", "{ \"prefix\": \"10.0.0.0/8\", \"nextHops\": [ { \"via\": \"192.0.2.1\" } ] }", "up" },
        { "10.0.0.1 dev up vrf x", "{ \"prefix\": \"10.0.0.1/32\", \"vrf\": \"x\", \"nextHops\": [ { } ] }", "up" },
        { "fd00::1 dev up", "{ \"prefix\": \"fd00::1/128\", \"nextHops\": [ { } ] }", "up" },
        { "10.0.0.0/8 nexthop via 192.0.2.1 weight 3 nexthop dev up", "{ \"prefix\": \"10.0.0.0/8\", \"nextHops\": [ { \"via\": \"192.0.2.1\", \"weight\": 3 }, { } ] }", ",up" },
        { "unreachable 10.0.0.0/8", "{ \"prefix\": \"10.0.0.0/8\", \"type\": \"UNREACHABLE\" }", "" },
        { "services 10.96.0.0/12", "{ \"prefix\": \"10.96.0.0/12\", \"type\": \"SERVICES\" }", "" },
        { "prohibit default", "{ \"prefix\": \"0.0.0.0/0\", \"type\": \"PROHIBITED\" }", "" },
    };

    [Theory]
    [MemberData(nameof(Words))]
    public void WordsOfIpRouteMean(string words, string route, string devs)
    {
        RouteWords read = RouteWords.Parse(words.Split(' '));
        Assert.Equal(route, read.Route.ToString());
        Assert.Equal(devs, string.Join(',', read.Devs));
    }

    private static async Task MakeRouted()
    {
        await Succeeds("port add uplink --memory --routed --address 192.0.2.10/24", "port \"uplink\" created");
        await Succeeds("network add blue -s 172.18.0.0/16 -g 172.18.0.1 --router", "network \"blue\" created");
        await Succeeds("network add guests -s 10.9.0.0/16 -g 10.9.0.1 --vrf guests --source-check", "created");
        await Succeeds("network add far --router --vni 100 --no-flood", "created");
        await Succeeds("port add dp0 -n blue --host", "created");
        await Succeeds("port add web -n blue --netns web --address 172.18.0.2/16", "created");
        await Succeeds("peer add node2 -n far --address 192.0.2.20 --mac 02:00:00:00:99:01", "tunnel peer \"node2\" created");
        await Succeeds("route add 10.3.0.0/16 nexthop via 192.0.2.1 weight 2 nexthop via 192.0.2.2", "route \"main/10.3.0.0/16\" created");
        await Succeeds("route add 10.4.0.0/16 via 198.51.100.1 dev uplink", "created");
        await Succeeds("route add 10.244.2.0/24 dev node2", "created");
        await Succeeds("route add blackhole 172.16.0.0/12", "created");
    }

    private unsafe void Learn(string port, uint address, NeighbourState state)
    {
        NeighbourKey key = NeighbourTable.Key4(_bench.Controller.State.Topology.Find(port)!.Index, address);
        Assert.Equal(NeighbourResult.Inserted, _bench.Segment.Neighbours.Insert(in key, NeighbourValue.Make(state, 0x7700_0000_0002), 1, out _));
    }
}
