using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckRouted(DesiredState state, Port port, Routed routed, Report report)
    {
        if (port.Network.Length > 0)
        {
            report("routed", $"a port of network \"{port.Network}\" cannot be a routed port too", "leave out either network or routed");
        }
        CheckVrfName(routed.Vrf, "routed.vrf", report);
        if (routed.Mac.Length > 0 && MacProblem(routed.Mac) is { } mac)
        {
            report("routed.mac", mac);
        }
        CheckRoutedAddresses(state, port, routed, report);
        if (routed.Nat is { } nat)
        {
            CheckNat(port, nat, report);
        }
        (string Field, bool Given)[] settings =
        [
            ("learning", port.HasLearning), ("isolated", port.Isolated), ("hairpin", port.Hairpin), ("bpdu_guard", port.BpduGuard),
            ("flood_unknown_unicast", port.HasFloodUnknownUnicast), ("flood_multicast", port.HasFloodMulticast), ("flood_broadcast", port.HasFloodBroadcast),
            ("access_vlan", port.VlanCase == Port.VlanOneofCase.AccessVlan), ("trunk", port.VlanCase == Port.VlanOneofCase.Trunk),
            ("learn_limit", port.LearnLimit != 0), ("storm_control", port.StormControl is not null),
        ];
        foreach ((string field, bool _) in settings.Where(s => s.Given))
        {
            report(field, "has no meaning for a routed port, which bridges nothing", "leave it out");
        }
    }

    private static void CheckRoutedAddresses(DesiredState state, Port port, Routed routed, Report report)
    {
        var mine = new List<Cidr>();
        for (int i = 0; i < routed.Addresses.Count; i++)
        {
            string text = routed.Addresses[i], field = $"routed.addresses[{i}]";
            if (!Cidr.TryParse(text, out Cidr address))
            {
                report(field, $"\"{text}\" is not an address with a prefix length", "write it like 192.0.2.10/24");
                continue;
            }
            if (address.Length == 0 || IPAddress.IsLoopback(address.Address) || IsMulticast(address.Address) || IsUnspecified(address.Address))
            {
                report(field, $"{text} cannot be the address of an interface");
                continue;
            }
            if (IsReserved(address.Address, address.Prefix) is { } reserved)
            {
                report(field, $"address {text} is {reserved} of {address.Prefix}");
            }
            if (mine.Any(a => a.Address.Equals(address.Address)))
            {
                report(field, $"address {text} is named twice");
            }
            mine.Add(address);
            foreach (RoutedInterface other in state.Topology.Interfaces.Where(o => o.Vrf == routed.VrfInForce && o.Name != port.Name))
            {
                foreach (Cidr theirs in other.Addresses.Where(a => a.Overlaps(address)))
                {
                    report(field, $"address {text} is in the same subnet as {theirs} of \"{other.Name}\", in the same VRF", "put one of the two into another VRF");
                }
            }
        }
        CheckAddressCount(mine, "routed.addresses", report);
    }

    private static void CheckRoutedTap(Port port, Tap tap, Report report)
    {
        if (tap.Host)
        {
            report("tap.host", "is the host's port of a network, and a routed port has none", "leave it out: a TAP device without tap.netns is the host's already");
        }
        for (int i = 0; i < tap.Addresses.Count; i++)
        {
            if (Cidr.TryParse(tap.Addresses[i], out Cidr address) && port.Routed.AddressesInForce.Any(a => a.Address.Equals(address.Address)))
            {
                report($"tap.addresses[{i}]", $"address {address.Address} is the switch's end of the link", "give the device another one");
            }
        }
        MacAddress mac = port.MacInForce(null);
        if (mac == port.RoutedMacInForce)
        {
            report("tap.mac", $"MAC address {mac} is the switch's end of the link", "give the device another one");
        }
        if (tap.DefaultRoute && !port.DefaultRoutesInForce(null).Any())
        {
            report("tap.default_route", "a default route needs an address, and a next hop of the same family", "set tap.addresses, and routed.addresses or tap.gateways");
        }
    }

    private static bool IsUnspecified(IPAddress address) => address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any);
}
