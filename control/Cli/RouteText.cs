using System.Globalization;
using System.Text;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary>Routes as <c>ip route</c> prints them.</summary>
internal static class RouteText
{
    /// <summary>
    /// <c>default via 192.0.2.1 dev uplink proto static</c>, <c>172.18.0.0/16 dev blue proto kernel scope link src 172.18.0.1</c>; a line
    /// for each next hop when there are several.
    /// </summary>
    public static string Line(TableRoute route)
    {
        var text = new StringBuilder();
        if (route.Type != TableRoute.Types.Type.Unicast)
        {
            text.Append(Type(route.Type)).Append(' ');
        }
        text.Append(Prefix(route.Prefix));
        if (route.NextHops.Count == 1)
        {
            text.Append(Hop(route.NextHops[0]));
        }
        text.Append(route.Origin == TableRoute.Types.Origin.Operator ? " proto static" : " proto kernel");
        if (route.Type == TableRoute.Types.Type.Local)
        {
            text.Append(" scope host");
        }
        else if (route is { Type: TableRoute.Types.Type.Unicast, NextHops: [{ Via: "" }], Origin: not TableRoute.Types.Origin.Host })
        {
            text.Append(" scope link");
        }
        if (route.Source.Length > 0)
        {
            text.Append(" src ").Append(route.Source);
        }
        if (route.Vrf != ResourceKeys.MainVrf)
        {
            text.Append(" vrf ").Append(route.Vrf);
        }
        if (route.NextHops.Count > 0 && route.NextHops.All(h => !h.Up))
        {
            text.Append(" linkdown");
        }
        if (route.NextHops.Count > 1)
        {
            foreach (ResolvedNextHop hop in route.NextHops)
            {
                text.Append("\n\tnexthop").Append(Hop(hop)).Append(CultureInfo.InvariantCulture, $" weight {hop.Weight}").Append(hop.Up ? "" : " linkdown");
            }
        }
        return text.ToString();
    }

    /// <summary>
    /// What <c>ip route get</c> prints: <c>10.1.2.3 via 192.0.2.1 dev uplink src 192.0.2.10</c>; behind each next hop what is known of
    /// the neighbour.
    /// </summary>
    public static string Line(RouteLookup found)
    {
        if (found.Route is not { } route)
        {
            return $"unreachable {found.Address}";
        }
        string type = route.Type == TableRoute.Types.Type.Unicast ? "" : Type(route.Type) + " ";
        string source = route.Source.Length > 0 ? $" src {route.Source}" : "", vrf = route.Vrf != ResourceKeys.MainVrf ? $" vrf {route.Vrf}" : "";
        string way = route.NextHops.Count == 1 ? Hop(route.NextHops[0]) : "";
        var text = new StringBuilder($"{type}{found.Address}{way}{source}{vrf}\n    by {route.Prefix}");
        if (route.NextHops.Count > 1)
        {
            foreach (ResolvedNextHop hop in route.NextHops)
            {
                text.Append("\n\tnexthop").Append(Hop(hop)).Append(CultureInfo.InvariantCulture, $" weight {hop.Weight}");
            }
        }
        foreach (NeighbourEntry neighbour in found.Neighbours)
        {
            text.Append("\n    neighbour ").Append(NeighbourText.Line(neighbour));
        }
        return text.ToString();
    }

    private static string Hop(ResolvedNextHop hop) => $"{(hop.Via.Length > 0 ? $" via {hop.Via}" : "")} dev {LinkNames.Dev(hop.Port, hop.Network)}";

    private static string Prefix(string prefix) => prefix is "0.0.0.0/0" or "::/0" ? "default"
        : prefix.EndsWith("/32", StringComparison.Ordinal) && !prefix.Contains(':', StringComparison.Ordinal) ? prefix[..^3]
        : prefix.EndsWith("/128", StringComparison.Ordinal) ? prefix[..^4]
        : prefix;

    private static string Type(TableRoute.Types.Type type) => type == TableRoute.Types.Type.Prohibited ? "prohibit" : Output.Word(type);
}

/// <summary>Neighbours as <c>ip neigh</c> prints them.</summary>
internal static class NeighbourText
{
    /// <summary><c>172.18.0.2 dev blue lladdr 02:42:ac:12:00:02 PERMANENT</c></summary>
    public static string Line(NeighbourEntry n) =>
        $"{n.Address} dev {LinkNames.Dev(n.Interface, n.Network)}{(n.Mac.Length > 0 ? $" lladdr {n.Mac}" : "")}{(n.Router ? " router" : "")} {n.State.ToString().ToUpperInvariant()}";
}
