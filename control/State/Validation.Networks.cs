using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private const uint MaxAgeing = 1_000_000;

    private static void CheckNetwork(DesiredState state, Network network, ProblemCollector problems)
    {
        CheckName(Kind.Network, network.Name, problems);
        CheckSubnets(state, network, Report);
        CheckGateways(network, Report);
        if (network.Mac.Length > 0 && MacProblem(network.Mac) is { } mac)
        {
            Report("mac", mac);
        }
        if (MtuProblem(network.Mtu, network.Prefixes.Any(p => p.IsIPv6)) is { } mtu)
        {
            Report("mtu", mtu);
        }
        if (network.HasAgeingSeconds && network.AgeingSeconds > MaxAgeing)
        {
            Report("ageing_seconds", $"ageing of {network.AgeingSeconds} s is above {MaxAgeing} s", "0 means never");
        }
        CheckRouter(state, network, Report);
        if (network.Masquerade && network.Router is null)
        {
            Report("masquerade", "is for packets that the network's router takes out, and there is none", "set router: {}");
        }
        CheckVxlan(state, network, Report);

        void Report(string field, string message, string fix = "") => problems.Add(Kind.Network, network.Name, field, message, fix);
    }

    private static void CheckSubnets(DesiredState state, Network network, Report report)
    {
        var mine = new List<Cidr>();
        for (int i = 0; i < network.Subnets.Count; i++)
        {
            string text = network.Subnets[i], field = $"subnets[{i}]";
            if (!Cidr.TryParse(text, out Cidr subnet))
            {
                report(field, $"\"{text}\" is not a subnet", "write it like 172.18.0.0/16 or fd00::/64");
            }
            else if (subnet.Prefix != subnet)
            {
                report(field, $"subnet {text} has bits set behind its prefix", $"write {subnet.Prefix}");
            }
            else if (subnet.Length == 0 || IPAddress.IsLoopback(subnet.Address) || IsMulticast(subnet.Address))
            {
                report(field, $"subnet {text} cannot be the subnet of a network");
            }
            else
            {
                foreach (Cidr other in mine.Where(other => other.Overlaps(subnet)))
                {
                    report(field, $"subnet {subnet} overlaps subnet {other} of the same network");
                }
                foreach (Network other in state.Networks.Values.Select(n => n.Spec).Where(n => n.Name != network.Name && !AreApart(n, network)))
                {
                    foreach (Cidr theirs in other.Prefixes.Where(p => p.Overlaps(subnet) && !IsEndOf(network, subnet, p) && !IsEndOf(other, p, subnet)))
                    {
                        report(field, $"subnet {subnet} overlaps {theirs} of network \"{other.Name}\"", ApartFix(other, network));
                    }
                }
                if (state.Services.Vips.FirstOrDefault(v => subnet.Contains(v.Key.Address) && v.Value.Any(s => IsWithin(state, s, v.Key.Address))) is { Key.Address: not null } vip)
                {
                    report(field, $"cluster IP {vip.Key.Address} of service \"{vip.Value[0]}\" is in subnet {subnet}, whose hosts would look for it on their link",
                        "take another subnet, or another cluster IP");
                }
                mine.Add(subnet);
            }
        }
    }

    private static bool IsWithin(DesiredState state, string service, IPAddress address) => state.Services.Services[service].Spec.ClusterIps.Contains(address.ToString());

    /// <summary>
    /// Whether a prefix is an overlay's single address inside of another network's subnet: the end of a point-to-point link, as
    /// flannel gives its VTEPs the first address of the node's subnet. The more specific route tells them apart.
    /// </summary>
    private static bool IsEndOf(Network overlay, Cidr end, Cidr subnet) => overlay.Vxlan is not null && overlay.Router is not null && end.Length == end.Bits && subnet.Length < subnet.Bits;

    /// <summary>Whether two networks never meet: each has a router, and these are in different VRFs.</summary>
    private static bool AreApart(Network a, Network b) => a.Router is { } one && b.Router is { } other && one.VrfInForce != other.VrfInForce;

    private static string ApartFix(Network a, Network b) => a.Router is not null && b.Router is not null ? "put one of the two into another VRF with router.vrf" : "";

    private static void CheckGateways(Network network, Report report)
    {
        var subnets = network.Prefixes.ToList();
        var used = new Dictionary<Cidr, string>();
        for (int i = 0; i < network.Gateways.Count; i++)
        {
            string text = network.Gateways[i], field = $"gateways[{i}]";
            if (!Cidr.TryParseAddress(text, out IPAddress? gateway))
            {
                report(field, $"\"{text}\" is not an IP address", text.Contains('/') ? "the prefix length is the subnet's: leave it out" : "");
                continue;
            }
            List<Cidr> homes = [.. subnets.Where(s => s.Contains(gateway))];
            if (homes.Count == 0)
            {
                string where = subnets.Count == 0 ? "the network has no subnet" : $"is outside the subnets of the network ({string.Join(", ", subnets)})";
                report(field, $"gateway {text}: {where}");
            }
            else if (IsReserved(gateway, homes[0]) is { } reserved)
            {
                report(field, $"gateway {text} is {reserved} of {homes[0]}");
            }
            else if (!used.TryAdd(homes[0], text))
            {
                report(field, $"gateway {text}: subnet {homes[0]} already has {used[homes[0]]}");
            }
        }
    }

    /// <summary>"the network address", "the broadcast address", or null. Not for point-to-point prefixes (RFC 3021) and IPv6.</summary>
    private static string? IsReserved(IPAddress address, Cidr subnet)
    {
        if (subnet.IsIPv6 || subnet.Length >= 31)
        {
            return null;
        }
        byte[] bytes = address.GetAddressBytes();
        uint value = ((uint)bytes[0] << 24) | ((uint)bytes[1] << 16) | ((uint)bytes[2] << 8) | bytes[3];
        uint host = value & (uint.MaxValue >> subnet.Length);
        return host == 0 ? "the network address" : host == uint.MaxValue >> subnet.Length ? "the broadcast address" : null;
    }

    private static bool IsMulticast(IPAddress address) =>
        address.IsIPv6Multicast || (address.GetAddressBytes() is { Length: 4 } b && b[0] >= 224);
}
