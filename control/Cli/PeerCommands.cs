using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane peer …</c></summary>
internal static class PeerCommands
{
    public static Command Build() => new Command("peer", "Tunnel peers: other nodes' VXLAN tunnel end points")
    {
        BuildList(), BuildGet(), BuildAdd(), BuildDelete(),
    }.WithExamples(
        "dataplane peer add node2 --network far --address 192.0.2.20",
        "dataplane peer list",
        "dataplane peer delete node2");

    private static Command BuildList() => new Command("list", "List tunnel peers and whether they are reached") { Options.Network, Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            var filter = new Filter { Network = parsed.GetValue(Options.Network) ?? "" };
            ResourceOutput.List(Kind.TunnelPeer, await client.ListAsync(Kind.TunnelPeer, filter, cancel), parsed.GetValue(Options.Output));
        })
        .WithExamples("dataplane peer list", "dataplane peer list --network far -o json");

    private static Command BuildGet()
    {
        Argument<string> name = Options.Name("Name of the tunnel peer", Kind.TunnelPeer);
        return new Command("get", "Show one tunnel peer") { name, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.GetAsync(client, Kind.TunnelPeer, parsed.GetRequiredValue(name), parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane peer get node2 -o yaml");
    }

    private static Command BuildAdd()
    {
        Argument<string> name = Options.Name("Name of the new tunnel peer");
        var address = new Option<string>("--address") { Description = "The other node's tunnel end point, such as 192.0.2.20", HelpName = "ADDRESS", Required = true };
        var mac = new Option<string>("--mac") { Description = "MAC address that the other node has in the network; routes can lead there then", HelpName = "MAC" };
        var noFlood = new Option<bool>("--no-flood") { Description = "Flood no packets to the peer, and learn no addresses from it" };
        return new Command("add", "Add a tunnel peer to a network with VXLAN") { name, Options.Network, address, mac, noFlood, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                var peer = new TunnelPeer
                {
                    Name = parsed.GetRequiredValue(name),
                    Network = parsed.GetValue(Options.Network) ?? "",
                    Address = parsed.GetRequiredValue(address),
                    Mac = parsed.GetValue(mac) ?? "",
                };
                if (parsed.GetValue(noFlood))
                {
                    peer.Flood = false;
                }
                return ResourceOutput.CreateAsync(client, ResourceKeys.Of(peer), parsed, cancel);
            })
            .WithExamples(
                "dataplane peer add node2 --network far --address 192.0.2.20",
                "dataplane peer add node2 --network far --address 192.0.2.20 --mac 02:42:0a:f4:02:00 --no-flood && dataplane route add 10.244.2.0/24 dev node2");
    }

    private static Command BuildDelete()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of tunnel peers", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.TunnelPeer);
        return new Command("delete", "Delete tunnel peers") { names, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.DeleteAsync(client, Kind.TunnelPeer, parsed.GetRequiredValue(names), parsed, cancel))
            .WithExamples("dataplane peer delete node2");
    }
}
