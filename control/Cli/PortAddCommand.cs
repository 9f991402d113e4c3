using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane port add …</c></summary>
internal static class PortAddCommand
{
    private static readonly Argument<string> Name = Options.Name("Name of the new port");
    private static readonly Option<string> Device = Text("--device", "Name of the TAP device (default: eth0 in a namespace, else the port's name)", "NAME");
    private static readonly Option<string> Netns = Text("--netns", "Network namespace of the TAP device: a name of `ip netns`, or a path", "NAME|PATH");
    private static readonly Option<string[]> Address = Texts("--address", "Address of the TAP device, such as 172.18.0.2/16, with --routed that of the switch; may be given more than once", "CIDR");
    private static readonly Option<string> Mac = Text("--mac", "MAC address of the TAP device, with --routed that of the switch (default: made from the port's name)", "MAC");
    private static readonly Option<bool> RoutedPort = Flag("--routed", "A port of no network, whose packets are routed: an uplink");
    private static readonly Option<string> Vrf = Text("--vrf", "VRF of a routed port (default main)", "VRF");
    private static readonly Option<string[]> PeerAddress = Texts("--peer-address", "Address of the TAP device of a routed port, at the other end of the link", "CIDR");
    private static readonly Option<bool> DefaultRoute = Flag("--default-route", "Default route by way of the network's gateway");
    private static readonly Option<string[]> Via = Texts("--via", "Next hop of the default route in place of the network's gateway", "ADDRESS");
    private static readonly Option<bool> Host = Flag("--host", "The host's own port: it has the network's gateway addresses");
    private static readonly Option<string> Netdev = Text("--netdev", "Network device of this machine in place of a TAP; it stays the kernel's, too", "NAME");
    private static readonly Option<string> DpdkDevice = Text("--dpdk", "DPDK device in place of a TAP: 0000:03:02.0, net_null0, net_memif0,role=server", "DEVARGS");
    private static readonly Option<bool> Bind = Flag("--bind", "Take the PCI device of --dpdk from the kernel's driver, and give it back with the port");
    private static readonly Option<string> PcapRx = Text("--pcap-rx", "Receive from this capture file in place of a TAP", "FILE");
    private static readonly Option<string> PcapTx = Text("--pcap-tx", "Send to this capture file in place of a TAP", "FILE");
    private static readonly Option<bool> PcapLoop = Flag("--pcap-loop", "Begin the received file again at its end");
    private static readonly Option<bool> InMemory = Flag("--memory", "Keep packets in memory in place of a TAP (for tests)");
    private static readonly Option<bool> Disabled = Flag("--disabled", "Let no packets in or out");
    private static readonly Option<bool> NoLearning = Flag("--no-learning", "Do not learn source addresses");
    private static readonly Option<bool> Isolated = Flag("--isolated", "Exchange packets only with ports that are not isolated");
    private static readonly Option<bool> Hairpin = Flag("--hairpin", "Packets may leave by the port they came from");
    private static readonly Option<bool> NoFloodUnicast = Flag("--no-flood-unknown-unicast", "Flood no packets of unknown destination to the port");
    private static readonly Option<bool> NoFloodMulticast = Flag("--no-flood-multicast", "Flood no multicast to the port");
    private static readonly Option<bool> NoFloodBroadcast = Flag("--no-flood-broadcast", "Flood no broadcast to the port");
    private static readonly Option<bool> BpduGuard = Flag("--bpdu-guard", "Disable the port when a bridge protocol data unit arrives");
    private static readonly Option<uint?> AccessVlan = Number("--access-vlan", "Access port of this VLAN", "VLAN");
    private static readonly Option<string> Trunk = Text("--trunk", "Trunk port of these VLANs, or all: 10,20-29", "VLANS");
    private static readonly Option<uint?> Native = Number("--native-vlan", "VLAN of untagged frames on a trunk port", "VLAN");
    private static readonly Option<uint?> LearnLimit = Number("--learn-limit", "Most addresses to learn (default: no limit)", "N");
    private static readonly Option<uint?> StormPps = Number("--storm-pps", "Most flooded packets per second that the port may cause", "N");
    private static readonly Option<uint?> StormBurst = Number("--storm-burst", "Packets that may come at once above that", "N");
    private static readonly Option<string> PolicyName = Text("--policy", "Policy that holds for the port: rate limit, isolation", "NAME");
    private static readonly Option<uint?> Mtu = Number("--mtu", "Largest IP packet in bytes (default: the network's)", "BYTES");

    public static Command Build()
    {
        var command = new Command("add", "Create a port, and its TAP device unless another kind of device is named")
        {
            Name, Options.Network, RoutedPort, Vrf, Netns, Device, Address, PeerAddress, Mac, DefaultRoute, Via, Host, Netdev, DpdkDevice, Bind, PcapRx, PcapTx, PcapLoop, InMemory,
            AccessVlan, Trunk, Native, Isolated, Hairpin, BpduGuard, Disabled, NoLearning, LearnLimit, NoFloodUnicast, NoFloodMulticast,
            NoFloodBroadcast, StormPps, StormBurst, PolicyName, Mtu, Options.DryRun, Options.Output,
        };
        return command
            .Calls((parsed, client, cancel) => ResourceOutput.CreateAsync(client, ResourceKeys.Of(Read(parsed)), parsed, cancel))
            .WithExamples(
                "dataplane port add dp0 --network blue --host",
                "dataplane port add web --network blue --netns web --address 172.18.0.2/16 --default-route",
                "dataplane port add pod7 --network blue --netns /proc/4711/ns/net --address 172.18.0.7/16 --isolated",
                "dataplane port add uplink --network blue --dpdk 0000:03:02.0 --bind",
                "dataplane port add uplink --network trunked --dpdk 0000:03:02.0 --trunk 10,20-29 --native-vlan 1",
                "dataplane port add uplink --netdev eth1 --routed --address 192.0.2.10/24",
                "dataplane port add replay --network blue --pcap-rx /tmp/in.pcap --pcap-tx /tmp/out.pcap");
    }

    private static Port Read(ParseResult parsed)
    {
        var port = new Port
        {
            Name = parsed.GetRequiredValue(Name),
            Network = parsed.GetValue(Options.Network) ?? "",
            Isolated = parsed.GetValue(Isolated),
            Hairpin = parsed.GetValue(Hairpin),
            BpduGuard = parsed.GetValue(BpduGuard),
            LearnLimit = parsed.GetValue(LearnLimit) ?? 0,
            Mtu = parsed.GetValue(Mtu) ?? 0,
            Policy = parsed.GetValue(PolicyName) ?? "",
        };
        ReadRouted(port, parsed);
        ReadAttachment(port, parsed);
        ReadVlans(port, parsed);
        if (parsed.GetValue(Disabled))
        {
            port.Enabled = false;
        }
        if (parsed.GetValue(NoLearning))
        {
            port.Learning = false;
        }
        if (parsed.GetValue(NoFloodUnicast))
        {
            port.FloodUnknownUnicast = false;
        }
        if (parsed.GetValue(NoFloodMulticast))
        {
            port.FloodMulticast = false;
        }
        if (parsed.GetValue(NoFloodBroadcast))
        {
            port.FloodBroadcast = false;
        }
        if (parsed.GetValue(StormPps) is not null || parsed.GetValue(StormBurst) is not null)
        {
            port.StormControl = new StormControl { PacketsPerSecond = parsed.GetValue(StormPps) ?? 0, Burst = parsed.GetValue(StormBurst) ?? 0 };
        }
        return port;
    }

    /// <summary>With --routed, --address and --mac are the switch's, and not those of a TAP device.</summary>
    private static void ReadRouted(Port port, ParseResult parsed)
    {
        if (parsed.GetValue(RoutedPort))
        {
            port.Routed = new Routed { Vrf = parsed.GetValue(Vrf) ?? "", Mac = parsed.GetValue(Mac) ?? "" };
            port.Routed.Addresses.Add(parsed.GetValue(Address) ?? []);
        }
        else if (new Option[] { Vrf, PeerAddress }.FirstOrDefault(o => Options.IsGiven(parsed, o)) is { } alone)
        {
            throw new CommandException(ExitCode.Usage, $"{alone.Name} goes with --routed");
        }
    }

    private static void ReadAttachment(Port port, ParseResult parsed)
    {
        Option[] tapOptions = port.IsRouted ? [Device, Netns, PeerAddress, DefaultRoute, Via, Host] : [Device, Netns, Address, Mac, DefaultRoute, Via, Host];
        List<string> kinds = [];
        if (tapOptions.Any(o => Options.IsGiven(parsed, o)))
        {
            kinds.Add("a TAP device (" + string.Join(", ", tapOptions.Where(o => Options.IsGiven(parsed, o)).Select(o => o.Name)) + ")");
        }
        if (parsed.GetValue(Netdev) is { } netdev)
        {
            kinds.Add("--netdev");
            port.Netdev = new Netdev { Device = netdev };
        }
        if (parsed.GetValue(DpdkDevice) is { } devargs)
        {
            kinds.Add("--dpdk");
            port.Dpdk = new Dpdk { Devargs = devargs, Bind = parsed.GetValue(Bind) };
        }
        else if (parsed.GetValue(Bind))
        {
            throw new CommandException(ExitCode.Usage, "--bind goes with --dpdk");
        }
        if (Options.IsGiven(parsed, PcapRx) || Options.IsGiven(parsed, PcapTx))
        {
            kinds.Add("--pcap-rx/--pcap-tx");
            port.Pcap = new Pcap
            {
                RxFile = FullPath(parsed.GetValue(PcapRx)),
                TxFile = FullPath(parsed.GetValue(PcapTx)),
                Loop = parsed.GetValue(PcapLoop),
            };
        }
        if (parsed.GetValue(InMemory))
        {
            kinds.Add("--memory");
            port.Memory = new Api.V1.Memory();
        }
        if (kinds.Count > 1)
        {
            throw new CommandException(ExitCode.Usage, $"a port has one device, not {string.Join(" and ", kinds)}");
        }
        if (port.AttachmentCase == Port.AttachmentOneofCase.None)
        {
            port.Tap = ReadTap(parsed, port.IsRouted);
        }
    }

    private static Tap ReadTap(ParseResult parsed, bool routed)
    {
        var tap = new Tap
        {
            Device = parsed.GetValue(Device) ?? "",
            Netns = parsed.GetValue(Netns) ?? "",
            Mac = routed ? "" : parsed.GetValue(Mac) ?? "",
            Host = parsed.GetValue(Host),
            DefaultRoute = parsed.GetValue(DefaultRoute) || Options.IsGiven(parsed, Via),
        };
        tap.Addresses.Add(parsed.GetValue(routed ? PeerAddress : Address) ?? []);
        tap.Gateways.Add(parsed.GetValue(Via) ?? []);
        return tap;
    }

    private static void ReadVlans(Port port, ParseResult parsed)
    {
        if (parsed.GetValue(AccessVlan) is { } access)
        {
            port.AccessVlan = access;
        }
        if (parsed.GetValue(Trunk) is { } trunk)
        {
            if (port.VlanCase != Port.VlanOneofCase.None)
            {
                throw new CommandException(ExitCode.Usage, "a port is an access port or a trunk port, not both");
            }
            port.Trunk = new Trunk { Native = parsed.GetValue(Native) ?? 0 };
            if (trunk != "all")
            {
                port.Trunk.Vlans.Add(trunk.Split(',', StringSplitOptions.TrimEntries));
            }
        }
        else if (Options.IsGiven(parsed, Native))
        {
            throw new CommandException(ExitCode.Usage, "--native-vlan needs --trunk");
        }
    }

    private static string FullPath(string? path) => string.IsNullOrEmpty(path) ? "" : Path.GetFullPath(path);

    private static Option<string> Text(string name, string description, string help) => new(name) { Description = description, HelpName = help };
    private static Option<string[]> Texts(string name, string description, string help) => new(name) { Description = description, HelpName = help };
    private static Option<uint?> Number(string name, string description, string help) => new(name) { Description = description, HelpName = help };
    private static Option<bool> Flag(string name, string description) => new(name) { Description = description };
}
