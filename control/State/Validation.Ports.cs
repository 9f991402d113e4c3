using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;
using PciAddress = Dataplane.Interop.Linux.PciAddress;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private const uint MaxStormRate = 100_000_000;

    private static void CheckPort(DesiredState state, Port port, ProblemCollector problems)
    {
        CheckName(Kind.Port, port.Name, problems);
        CheckPortName(state, port.Name, PortRole.Device, Report, "name");
        NetworkEntry? network = null;
        if (port.Routed is { } routed)
        {
            CheckRouted(state, port, routed, Report);
        }
        else if (port.Network.Length == 0)
        {
            Report("network", "belongs to no network", $"name one of: {ListNames(state.Networks.Keys)}; or make it a routed port with routed");
        }
        else if (!state.Networks.TryGetValue(port.Network, out network))
        {
            Report("network", $"network \"{port.Network}\" does not exist", "networks: " + ListNames(state.Networks.Keys));
        }

        CheckAttachment(state, port, network?.Spec, Report);
        CheckVlans(port, network?.Spec, Report);
        if (MtuProblem(port.Mtu, (network?.Spec.Prefixes ?? port.Routed?.AddressesInForce)?.Any(p => p.IsIPv6) ?? false) is { } mtu)
        {
            Report("mtu", mtu);
        }
        CheckPolicyOf(state, port, Report);
        if (port.StormControl is { } storm)
        {
            if (storm.PacketsPerSecond is 0 or > MaxStormRate)
            {
                Report("storm_control.packets_per_second", $"{storm.PacketsPerSecond} is not from 1 to {MaxStormRate}", "leave storm_control out for no limit");
            }
            if (storm.Burst > MaxStormRate)
            {
                Report("storm_control.burst", $"{storm.Burst} is above {MaxStormRate}");
            }
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.Port, port.Name, field, message, fix);
    }

    private static void CheckAttachment(DesiredState state, Port port, Network? network, Report report)
    {
        switch (port.AttachmentCase)
        {
            case Port.AttachmentOneofCase.Tap:
                CheckTap(state, port, port.Tap, network, report);
                break;
            case Port.AttachmentOneofCase.Netdev:
                CheckNetdev(state, port, report);
                break;
            case Port.AttachmentOneofCase.Dpdk:
                CheckDpdk(state, port, report);
                break;
            case Port.AttachmentOneofCase.Pcap:
                CheckPcap(port.Pcap, report);
                break;
            case Port.AttachmentOneofCase.Memory:
                break;
            default:
                report("tap", "has nothing attached", "give one of tap, netdev, dpdk, pcap, memory (tap: {} is a TAP device with all defaults)");
                break;
        }
    }

    private static void CheckTap(DesiredState state, Port port, Tap tap, Network? network, Report report)
    {
        string device = port.DeviceInForce;
        if (DeviceNameProblem(device) is { } name)
        {
            report("tap.device", name, tap.Device.Length == 0 ? "give the device a shorter name with tap.device" : "");
        }
        if (tap.Netns.Length > 0 && NetnsProblem(tap.Netns) is { } netns)
        {
            report("tap.netns", netns);
        }
        foreach (Port other in OtherTaps(state, port).Where(p => p.DeviceInForce == device && p.Tap.Netns == tap.Netns))
        {
            string where = tap.Netns.Length == 0 ? "" : $" in namespace \"{tap.Netns}\"";
            report("tap.device", $"device \"{device}\"{where} belongs to port \"{other.Name}\"");
        }
        if (tap.Mac.Length > 0 && MacProblem(tap.Mac) is { } mac)
        {
            report("tap.mac", mac);
        }
        if (network is not null)
        {
            CheckTapMac(state, port, network, report);
            CheckHostApart(state, port, network, report);
        }
        else if (port.IsRouted)
        {
            CheckRoutedTap(port, tap, report);
        }
        CheckTapAddresses(state, port, network, report);
        CheckTapRoutes(port, tap, network, report);
        if (tap.Host && tap.Netns.Length > 0)
        {
            report("tap.netns", "a host port lives in the host's namespace", "leave tap.netns out");
        }
        if (tap.Host && OtherTaps(state, port).FirstOrDefault(p => p.Tap.Host && p.Network == port.Network) is { } host)
        {
            report("tap.host", $"network \"{port.Network}\" already has host port \"{host.Name}\"");
        }
    }

    private static void CheckTapMac(DesiredState state, Port port, Network network, Report report)
    {
        MacAddress mac = port.MacInForce(network);
        if (!port.IsHost && mac == network.MacInForce)
        {
            report("tap.mac", $"MAC address {mac} is that of network \"{network.Name}\"");
        }
        if (network.Router is not null && mac == network.SecondMac)
        {
            report("tap.mac", $"MAC address {mac} is that of the router of network \"{network.Name}\"");
        }
        foreach (Port other in OtherTaps(state, port).Where(p => p.Network == port.Network && p.MacInForce(network) == mac))
        {
            report("tap.mac", $"MAC address {mac} is also that of port \"{other.Name}\"");
        }
    }

    /// <summary>Without a network: whether they are addresses at all.</summary>
    private static void CheckTapAddresses(DesiredState state, Port port, Network? network, Report report)
    {
        List<Cidr> subnets = [.. network?.Prefixes ?? []];
        var seen = new HashSet<IPAddress>();
        for (int i = 0; i < port.Tap.Addresses.Count; i++)
        {
            string text = port.Tap.Addresses[i], field = $"tap.addresses[{i}]";
            if (!Cidr.TryParse(text, out Cidr address))
            {
                report(field, $"\"{text}\" is not an address with a prefix length", "write it like 172.18.0.2/16");
                continue;
            }
            List<Cidr> homes = [.. subnets.Where(s => s.Contains(address.Address))];
            if (homes.Count == 0 && subnets.Count > 0)
            {
                report(field, $"address {text} is outside network \"{port.Network}\" ({string.Join(", ", subnets)})");
            }
            else if (homes.Count > 0 && IsReserved(address.Address, homes[0]) is { } reserved)
            {
                report(field, $"address {text} is {reserved} of {homes[0]}");
            }
            if (!seen.Add(address.Address))
            {
                report(field, $"address {text} is named twice");
            }
            if (network is null)
            {
                continue;
            }
            if (!port.Tap.Host && network.GatewayAddresses.Any(g => g.Address.Equals(address.Address)))
            {
                report(field, $"address {text} is the gateway of network \"{network.Name}\"");
            }
            foreach (Port other in OtherTaps(state, port).Where(p => p.Network == port.Network
                && p.AddressesInForce(network).Any(a => a.Address.Equals(address.Address))))
            {
                if (!(other.Tap.Host && network.GatewayAddresses.Any(g => g.Address.Equals(address.Address))))
                {
                    report(field, $"address {text} is also that of port \"{other.Name}\"");
                }
            }
        }
    }

    /// <summary>Without a network: whether gateways are addresses at all.</summary>
    private static void CheckTapRoutes(Port port, Tap tap, Network? network, Report report)
    {
        if (tap.Gateways.Count > 0 && !tap.DefaultRoute)
        {
            report("tap.gateways", "gateways without a default route", "set tap.default_route");
        }
        List<Cidr> addresses = network is null ? [] : [.. port.AddressesInForce(network)];
        for (int i = 0; i < tap.Gateways.Count; i++)
        {
            string text = tap.Gateways[i];
            if (!Cidr.TryParseAddress(text, out IPAddress? gateway))
            {
                report($"tap.gateways[{i}]", $"\"{text}\" is not an IP address");
            }
            else if (network is not null && !addresses.Any(a => a.Contains(gateway)))
            {
                report($"tap.gateways[{i}]", $"gateway {text} is in no subnet of the device's addresses ({string.Join(", ", addresses)})");
            }
        }
        if (network is not null && tap is { DefaultRoute: true, Gateways.Count: 0 } && !port.DefaultRoutesInForce(network).Any())
        {
            report("tap.default_route", addresses.Count == 0 ? "a default route needs an address" : $"network \"{network.Name}\" has no gateway for it",
                addresses.Count == 0 ? "set tap.addresses" : "set the network's gateways, or tap.gateways");
        }
    }

    private static void CheckNetdev(DesiredState state, Port port, Report report)
    {
        string device = port.Netdev.Device;
        if (DeviceNameProblem(device) is { } name)
        {
            report("netdev.device", name, "give the name of a network device, such as eth1");
            return;
        }
        foreach (PortEntry other in state.Ports.Values.Where(p => p.Spec.Name != port.Name && p.Spec.DeviceInForce == device
            && (p.Spec.Netdev is not null || p.Spec.Tap is { Netns.Length: 0 })))
        {
            report("netdev.device", $"device \"{device}\" belongs to port \"{other.Spec.Name}\"");
        }
    }

    private static void CheckDpdk(DesiredState state, Port port, Report report)
    {
        string devargs = port.Dpdk.Devargs;
        if (devargs.Length == 0)
        {
            report("dpdk.devargs", "names no device", "write it like 0000:03:02.0 or net_null0");
            return;
        }
        if (devargs.Any(c => char.IsWhiteSpace(c) || char.IsControl(c)))
        {
            report("dpdk.devargs", $"\"{devargs}\" contains white space");
        }
        string device = port.DeviceInForce;
        string? function = PciAddress.OfDevargs(device);
        if (port.Dpdk.Bind && function is null)
        {
            report("dpdk.bind", $"\"{device}\" is not a PCI device", "leave dpdk.bind out");
        }
        foreach (PortEntry other in state.Ports.Values.Where(p => p.Spec.Name != port.Name && p.Spec.Dpdk is not null
            && (p.Spec.DeviceInForce == device || (function is not null && PciAddress.OfDevargs(p.Spec.DeviceInForce) == function))))
        {
            report("dpdk.devargs", $"device \"{device}\" belongs to port \"{other.Spec.Name}\"");
        }
    }

    private static void CheckPcap(Pcap pcap, Report report)
    {
        if (pcap.RxFile.Length == 0 && pcap.TxFile.Length == 0)
        {
            report("pcap", "names no file", "give rx_file, tx_file or both");
        }
        foreach ((string field, string file) in new[] { ("pcap.rx_file", pcap.RxFile), ("pcap.tx_file", pcap.TxFile) })
        {
            if (file.Length > 0 && (!Path.IsPathRooted(file) || file.Any(c => c == ',' || char.IsControl(c))))
            {
                report(field, $"\"{file}\" is not an absolute path without commas");
            }
        }
        if (pcap is { Loop: true, RxFile.Length: 0 })
        {
            report("pcap.loop", "nothing to begin again without rx_file");
        }
    }

    private static void CheckVlans(Port port, Network? network, Report report)
    {
        if (port.VlanCase == Port.VlanOneofCase.None)
        {
            return;
        }
        string field = port.VlanCase == Port.VlanOneofCase.AccessVlan ? "access_vlan" : "trunk";
        if (network is { VlanFiltering: false })
        {
            report(field, $"network \"{network.Name}\" does not look at VLANs", $"set vlan_filtering of the network, or leave {field} out");
        }
        if (port.VlanCase == Port.VlanOneofCase.AccessVlan)
        {
            if (!VlanRanges.IsValid(port.AccessVlan))
            {
                report(field, VlanText(port.AccessVlan));
            }
            return;
        }
        for (int i = 0; i < port.Trunk.Vlans.Count; i++)
        {
            if (VlanRanges.TryParse(port.Trunk.Vlans[i], out _) is { } problem)
            {
                report($"trunk.vlans[{i}]", problem);
            }
        }
        if (port.Trunk.Native != 0 && !VlanRanges.IsValid(port.Trunk.Native))
        {
            report("trunk.native", VlanText(port.Trunk.Native));
        }
    }

    private static string VlanText(uint vlan) => $"VLAN {vlan} is not from {VlanRanges.First} to {VlanRanges.Last}";

    /// <summary>What Linux does not take as the name of a network device.</summary>
    private static string? DeviceNameProblem(string name) =>
        name.Length > MaxDeviceName ? $"device name \"{name}\" has {name.Length} characters, at most {MaxDeviceName} are possible"
        : name.Length == 0 || name is "." or ".." || !name.All(c => c is > ' ' and < (char)127 and not '/' and not ':' and not '%')
            ? $"\"{name}\" is not a device name"
        : name is "lo" or "all" or "default" ? $"device name \"{name}\" is taken by the kernel"
        : null;

    private static string? NetnsProblem(string netns) =>
        netns.StartsWith('/') ? (netns.Any(char.IsControl) ? $"\"{netns}\" is not a path" : null)
        : netns is "." or ".." || netns.Contains('/') || netns.Any(char.IsControl)
            ? $"\"{netns}\" is neither the name of a network namespace nor an absolute path"
        : null;

    private static IEnumerable<Port> OtherTaps(DesiredState state, Port port) =>
        state.Ports.Values.Select(p => p.Spec).Where(p => p.Name != port.Name && p.Tap is not null);
}
