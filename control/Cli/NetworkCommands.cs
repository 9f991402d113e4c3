using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane network …</c></summary>
internal static class NetworkCommands
{
    public static Command Build() => new Command("network", "Networks: learning bridges, and the subnets used on them")
    {
        BuildList(), BuildGet(), BuildAdd(), BuildDelete(),
    }.WithExamples(
        "dataplane network add blue --subnet 172.18.0.0/16 --gateway 172.18.0.1",
        "dataplane network list",
        "dataplane network delete blue");

    private static Command BuildList() => new Command("list", "List networks") { Options.Output }
        .Calls(async (parsed, client, cancel) =>
            ResourceOutput.List(Kind.Network, await client.ListAsync(Kind.Network, null, cancel), parsed.GetValue(Options.Output)))
        .WithExamples("dataplane network list", "dataplane network list -o json | jq '.networks[].name'");

    private static Command BuildGet()
    {
        Argument<string> name = Options.Name("Name of the network", Kind.Network);
        return new Command("get", "Show one network") { name, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.GetAsync(client, Kind.Network, parsed.GetRequiredValue(name), parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane network get blue", "dataplane network get blue -o yaml > blue.yaml");
    }

    private static Command BuildAdd()
    {
        Argument<string> name = Options.Name("Name of the new network");
        var subnet = new Option<string[]>("--subnet", "-s") { Description = "Subnet, such as 172.18.0.0/16; may be given more than once", HelpName = "CIDR" };
        var gateway = new Option<string[]>("--gateway", "-g") { Description = "Address of the host in the subnet; one per subnet", HelpName = "ADDRESS" };
        var mac = new Option<string>("--mac") { Description = "The network's own MAC address (default: made from the name)", HelpName = "MAC" };
        var mtu = new Option<uint>("--mtu") { Description = "Largest IP packet in bytes (default 1500)", HelpName = "BYTES" };
        var ageing = new Option<uint?>("--ageing") { Description = "Forget an address after so many seconds, 0 for never (default 300)", HelpName = "SECONDS" };
        var limit = new Option<uint>("--learn-limit") { Description = "Most addresses to learn (default: no limit)", HelpName = "N" };
        var vlans = new Option<bool>("--vlan-filtering") { Description = "Look at VLAN tags (IEEE 802.1Q)" };
        var router = new Option<bool>("--router") { Description = "Route between this network and others, by way of the gateways" };
        var vrf = new Option<string>("--vrf") { Description = "Routing table of its own for the networks and routed ports that name it (default main)", HelpName = "VRF" };
        var sourceCheck = new Option<bool>("--source-check") { Description = "Route nothing whose source is in no subnet of the network" };
        var proxyArp = new Option<bool>("--proxy-arp") { Description = "Answer ARP and neighbour solicitations for everything that is routed elsewhere" };
        var masquerade = new Option<bool>("--masquerade") { Description = "Give packets that leave the switch by a routed port an address of that port as their source; implies --router" };
        var vni = new Option<uint?>("--vni") { Description = "Extend the network over VXLAN with this identifier", HelpName = "VNI" };
        var vtep = new Option<string>("--vtep") { Description = "Address of the tunnel end point here (default: the first IPv4 address of the routed ports; :: for IPv6)", HelpName = "ADDRESS" };
        var udpPort = new Option<uint>("--vxlan-port") { Description = "UDP port of the tunnel (default 4789; flannel has 8472)", HelpName = "PORT" };
        var noFlood = new Option<bool>("--no-flood") { Description = "Flood nothing into tunnels, and learn no addresses from them" };
        return new Command("add", "Create a network")
        {
            name, subnet, gateway, mac, mtu, ageing, limit, vlans, router, vrf, sourceCheck, proxyArp, masquerade, vni, vtep, udpPort, noFlood, Options.DryRun, Options.Output,
        }
            .Calls((parsed, client, cancel) =>
            {
                var network = new Network
                {
                    Name = parsed.GetRequiredValue(name),
                    Mac = parsed.GetValue(mac) ?? "",
                    Mtu = parsed.GetValue(mtu),
                    LearnLimit = parsed.GetValue(limit),
                    VlanFiltering = parsed.GetValue(vlans),
                    Masquerade = parsed.GetValue(masquerade),
                };
                Option[] routers = [router, vrf, sourceCheck, proxyArp, masquerade], tunnels = [vtep, udpPort, noFlood];
                if (routers.Any(o => Options.IsGiven(parsed, o)))
                {
                    network.Router = new Router { Vrf = parsed.GetValue(vrf) ?? "", SourceCheck = parsed.GetValue(sourceCheck), ProxyArp = parsed.GetValue(proxyArp) };
                }
                if (parsed.GetValue(vni) is { } id)
                {
                    network.Vxlan = new Vxlan { Vni = id, Local = parsed.GetValue(vtep) ?? "", Port = parsed.GetValue(udpPort) };
                    if (parsed.GetValue(noFlood))
                    {
                        network.Vxlan.Flood = false;
                    }
                }
                else if (tunnels.FirstOrDefault(o => Options.IsGiven(parsed, o)) is { } alone)
                {
                    throw new CommandException(ExitCode.Usage, $"{alone.Name} goes with --vni");
                }
                network.Subnets.Add(parsed.GetValue(subnet) ?? []);
                network.Gateways.Add(parsed.GetValue(gateway) ?? []);
                if (parsed.GetValue(ageing) is { } seconds)
                {
                    network.AgeingSeconds = seconds;
                }
                return ResourceOutput.CreateAsync(client, ResourceKeys.Of(network), parsed, cancel);
            })
            .WithExamples(
                "dataplane network add blue --subnet 172.18.0.0/16 --gateway 172.18.0.1",
                "dataplane network add dual -s 10.1.0.0/24 -g 10.1.0.1 -s fd00:1::/64 -g fd00:1::1",
                "dataplane network add trunked --vlan-filtering --ageing 60",
                "dataplane network add web -s 10.1.0.0/24 -g 10.1.0.1 --router                     routed to other networks with --router",
                "dataplane network add app -s 172.19.0.0/16 -g 172.19.0.1 --masquerade            to the outside by an address of the uplink",
                "dataplane network add guests -s 10.9.0.0/24 -g 10.9.0.1 --vrf guests              to none but those of the same VRF",
                "dataplane network add far -s 10.244.1.0/24 -g 10.244.1.1 --router --vni 100       to other nodes, see: dataplane peer add");
    }

    private static Command BuildDelete()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of networks", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.Network);
        return new Command("delete", "Delete networks; they must have no ports left") { names, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.DeleteAsync(client, Kind.Network, parsed.GetRequiredValue(names), parsed, cancel))
            .WithExamples("dataplane network delete blue");
    }
}
