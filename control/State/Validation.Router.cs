using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private const uint MaxVni = 0xFF_FFFF;

    private static void CheckRouter(DesiredState state, Network network, Report report)
    {
        if (network.Router is not { } router)
        {
            return;
        }
        CheckVrfName(router.Vrf, "router.vrf", report);
        CheckPortName(state, ResourceKeys.RouterPort(network.Name), PortRole.Router, report, "router");
        if (network.Gateways.Count == 0 && network.Vxlan is null)
        {
            report("router", "the router has no address", "set gateways: one address in each subnet that is routed");
        }
        CheckAddressCount(network.GatewayAddresses, "gateways", report);
        if (router.Vlan != 0 && !network.VlanFiltering)
        {
            report("router.vlan", $"network \"{network.Name}\" does not look at VLANs", "set vlan_filtering, or leave router.vlan out");
        }
        else if (router.Vlan != 0 && !VlanRanges.IsValid(router.Vlan))
        {
            report("router.vlan", VlanText(router.Vlan));
        }
    }

    private static void CheckVxlan(DesiredState state, Network network, Report report)
    {
        if (network.Vxlan is not { } vxlan)
        {
            return;
        }
        if (network.VlanFiltering)
        {
            report("vxlan", "a network that looks at VLANs cannot extend over VXLAN, which has no place for them (RFC 7348, section 6.1)", "use one network for each VNI");
        }
        if (vxlan.Vni is 0 or > MaxVni)
        {
            report("vxlan.vni", $"VNI {vxlan.Vni} is not from 1 to {MaxVni}");
        }
        else if (state.Networks.Values.FirstOrDefault(n => n.Spec.Name != network.Name && n.Spec.Vxlan is { } v && v.Vni == vxlan.Vni
            && v.LocalInForce.AddressFamily == vxlan.LocalInForce.AddressFamily) is { } other)
        {
            report("vxlan.vni", $"VNI {vxlan.Vni} is that of network \"{other.Spec.Name}\"");
        }
        if (vxlan.Port > ushort.MaxValue)
        {
            report("vxlan.port", $"{vxlan.Port} is no UDP port: they go up to {ushort.MaxValue}");
        }
        if (vxlan.Ttl > byte.MaxValue)
        {
            report("vxlan.ttl", $"a time to live of {vxlan.Ttl} is above {byte.MaxValue}");
        }
        CheckVtep(state, network, vxlan, report);
    }

    private static void CheckVtep(DesiredState state, Network network, Vxlan vxlan, Report report)
    {
        if (vxlan.Local.Length > 0 && !Cidr.TryParseAddress(vxlan.Local, out _))
        {
            report("vxlan.local", $"\"{vxlan.Local}\" is not an IP address", vxlan.Local.Contains('/') ? "leave the prefix length out" : "");
            return;
        }
        IPAddress local = vxlan.LocalInForce;
        if (vxlan.ZeroChecksum6 && local.AddressFamily == AddressFamily.InterNetwork)
        {
            report("vxlan.zero_checksum6", "is for tunnels over IPv6, and these go over IPv4", "leave it out, or set vxlan.local to an IPv6 address (or \"::\")");
        }
        if (state.Topology.VtepOf(network.Name) is not { } vtep)
        {
            CheckLocalIsKnown(state, local, report);
            return;
        }
        uint most = vtep.Interface.Mtu - Math.Min(vtep.Interface.Mtu, vxlan.Overhead);
        if (network.MtuInForce > most)
        {
            report("mtu", $"MTU {network.MtuInForce} and {vxlan.Overhead} bytes of outer headers are more than the MTU {vtep.Interface.Mtu} of \"{vtep.Interface.Name}\"",
                $"set mtu to {most} or less, or raise that of \"{vtep.Interface.Name}\"");
        }
    }

    private static void CheckLocalIsKnown(DesiredState state, IPAddress local, Report report)
    {
        if (local.Equals(IPAddress.Any) || local.Equals(IPAddress.IPv6Any))
        {
            return; // any address that comes will do
        }
        if (state.Topology.Interfaces.FirstOrDefault(i => i.IsOverlay && i.Addresses.Any(a => a.Address.Equals(local))) is { } overlay)
        {
            report("vxlan.local", $"{local} is an address of \"{overlay.Name}\", whose network itself goes through tunnels", "name an address of the underlay");
            return;
        }
        IEnumerable<string> known = state.Topology.Interfaces.Where(i => !i.IsOverlay).SelectMany(i => i.Addresses.Select(a => a.Address.ToString()));
        report("vxlan.local", $"{local} is no address of a routed port or a router", $"addresses: {ListNames(known)}");
    }

    private static void CheckVrfName(string vrf, string field, Report report)
    {
        if (vrf.Length > 0 && !IsName(vrf))
        {
            report(field, $"\"{vrf}\" is no name of a VRF: 1 to {MaxName} characters of A-Z a-z 0-9 . _ - that begin with a letter or a digit");
        }
    }

    private static void CheckAddressCount(IEnumerable<Cidr> addresses, string field, Report report)
    {
        foreach (IGrouping<bool, Cidr> family in addresses.GroupBy(a => a.IsIPv6).Where(g => g.Count() > Limits.Addresses))
        {
            report(field, $"{family.Count()} {(family.Key ? "IPv6" : "IPv4")} addresses, an interface has at most {Limits.Addresses}");
        }
    }

    /// <summary>What the host's kernel could not tell apart.</summary>
    private static void CheckHostApart(DesiredState state, Port port, Network network, Report report)
    {
        if (!port.IsHost)
        {
            return;
        }
        foreach (Port other in OtherTaps(state, port).Where(p => p.IsHost && p.Network != network.Name))
        {
            if (state.Networks.TryGetValue(other.Network, out NetworkEntry? theirs)
                && network.Prefixes.SelectMany(_ => theirs.Spec.Prefixes, (mine, its) => (mine, its)).FirstOrDefault(p => p.mine.Overlaps(p.its)) is { mine.Address: not null } both)
            {
                report("tap.host", $"the host cannot tell {both.mine} of network \"{network.Name}\" from {both.its} of network \"{theirs.Spec.Name}\", where it has port \"{other.Name}\"",
                    "let the host have a port in one of them");
            }
        }
    }
}
