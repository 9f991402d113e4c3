using System.Net;
using System.Net.Sockets;
using static Dataplane.Interop.Linux.NetlinkRequest;

namespace Dataplane.Interop.Linux;

/// <summary>A unicast route. One with several next hops is listed once for each.</summary>
/// <param name="Destination">0.0.0.0/0 or ::/0 for a default route.</param>
/// <param name="Gateway">The next router, or null when the destination is on the link.</param>
/// <param name="Index">The device it leads to.</param>
/// <param name="Metric">The smaller one wins; 0 when it has none.</param>
public sealed record RouteInfo(IPNetwork Destination, IPAddress? Gateway, int Index, uint Metric)
{
    /// <summary>Who made it: 2 the kernel with an address, 3 ip(8), 4 an administrator or a daemon such as this one.</summary>
    public byte Protocol { get; init; }

    public bool IsDefault => Destination.PrefixLength == 0;
}

public sealed partial class Netlink
{
    private const ushort RTA_DST = 1;
    private const ushort RTA_OIF = 4;
    private const ushort RTA_GATEWAY = 5;
    private const ushort RTA_PRIORITY = 6;
    private const ushort RTA_MULTIPATH = 9;
    private const ushort RTA_TABLE = 15;
    private const ushort RTA_VIA = 18;
    private const byte RT_TABLE_MAIN = 254;
    private const byte RTPROT_STATIC = 4;
    private const byte RT_SCOPE_UNIVERSE = 0;
    private const byte RT_SCOPE_LINK = 253;
    private const byte RT_SCOPE_NOWHERE = 255;
    private const byte RTN_UNICAST = 1;
    private const uint RTNH_F_ONLINK = 4;
    private const uint RTM_F_CLONED = 0x200;

    /// <summary>The destination of an IPv4 default route.</summary>
    public static IPNetwork DefaultIPv4 { get; } = new(IPAddress.Any, 0);

    /// <summary>The destination of an IPv6 default route.</summary>
    public static IPNetwork DefaultIPv6 { get; } = new(IPAddress.IPv6Any, 0);

    /// <summary>The unicast routes of the main table, or of all tables.</summary>
    public IReadOnlyList<RouteInfo> ListRoutes(AddressFamily family = AddressFamily.Unspecified, bool allTables = false) => Dump<RouteInfo>(
        () => new NetlinkRequest(RTM_GETROUTE, NLM_F_DUMP).Fixed(new rtmsg { rtm_family = FamilyOf(family) }),
        "list routes",
        (routes, type, body) =>
        {
            if (type == RTM_NEWROUTE)
                ParseRoute(routes, body, allTables);
        });

    /// <summary>ip route add (or replace) DESTINATION [via GATEWAY] dev DEV, in the main table.</summary>
    /// <param name="destination">Of the gateway's family; <see cref="DefaultIPv4"/> or <see cref="DefaultIPv6"/>.</param>
    /// <param name="gateway">The next router, or null when the destination is on the link.</param>
    /// <param name="index">The device.</param>
    /// <param name="metric">0 leaves it to the kernel: none for IPv4, 1024 for IPv6.</param>
    /// <param name="replace">An existing route to the destination with the same metric is replaced, not an error.</param>
    /// <param name="onLink">The gateway is reached on the device, though no address there says so.</param>
    /// <exception cref="LinuxException">EEXIST; ENETUNREACH: the gateway is in no subnet of the device, or that is
    /// down; ENETDOWN.</exception>
    public void AddRoute(IPNetwork destination, IPAddress? gateway, int index, uint metric = 0, bool replace = false, bool onLink = false) =>
        Request(
            RouteRequest(RTM_NEWROUTE, NLM_F_CREATE | (replace ? NLM_F_REPLACE : NLM_F_EXCL), destination, gateway, index, metric, onLink),
            () => $"add route to {destination}{Via(gateway)} on {Describe(index)}");

    /// <summary>ip route delete DESTINATION [via GATEWAY] dev DEV, in the main table. A metric of 0 matches any.</summary>
    /// <exception cref="LinuxException">ESRCH: there is no such route.</exception>
    public void DeleteRoute(IPNetwork destination, IPAddress? gateway, int index, uint metric = 0) => Request(
        RouteRequest(RTM_DELROUTE, 0, destination, gateway, index, metric, onLink: false),
        () => $"delete route to {destination}{Via(gateway)} on {Describe(index)}");

    private static string Via(IPAddress? gateway) => gateway is null ? "" : $" via {gateway}";

    private static NetlinkRequest RouteRequest(
        ushort type, int flags, IPNetwork destination, IPAddress? gateway, int index, uint metric, bool onLink)
    {
        if (gateway is not null && gateway.AddressFamily != destination.BaseAddress.AddressFamily)
            throw new ArgumentException($"the gateway {gateway} and the destination {destination} are of different families", nameof(gateway));
        bool delete = type == RTM_DELROUTE;
        var request = new NetlinkRequest(type, (ushort)flags);
        request.Fixed(new rtmsg
        {
            rtm_family = FamilyOf(destination.BaseAddress),
            rtm_dst_len = (byte)destination.PrefixLength,
            rtm_table = RT_TABLE_MAIN,
            // When deleting, these are a filter: 0 and "nowhere" match whatever the route has.
            rtm_protocol = delete ? (byte)0 : RTPROT_STATIC,
            rtm_scope = delete ? RT_SCOPE_NOWHERE
                : gateway is null && destination.BaseAddress.AddressFamily == AddressFamily.InterNetwork ? RT_SCOPE_LINK
                : RT_SCOPE_UNIVERSE,
            rtm_type = delete ? (byte)0 : RTN_UNICAST,
            rtm_flags = onLink ? RTNH_F_ONLINK : 0,
        });
        if (destination.PrefixLength > 0)
            request.Bytes(RTA_DST, destination.BaseAddress.GetAddressBytes());
        if (gateway is not null)
            request.Bytes(RTA_GATEWAY, gateway.GetAddressBytes());
        request.UInt32(RTA_OIF, (uint)index);
        if (metric != 0)
            request.UInt32(RTA_PRIORITY, metric);
        return request;
    }

    private static void ParseRoute(List<RouteInfo> routes, ReadOnlySpan<byte> body, bool allTables)
    {
        // IPv6 lists its cached exceptions (path MTUs) among the routes.
        if (!Split(body, out rtmsg info, out NetlinkAttributes attributes)
            || info.rtm_type != RTN_UNICAST || info.rtm_family is not (AF_INET or AF_INET6) || (info.rtm_flags & RTM_F_CLONED) != 0)
            return;
        uint table = info.rtm_table;
        uint metric = 0;
        int index = 0;
        IPAddress? destination = null;
        IPAddress? gateway = null;
        ReadOnlySpan<byte> nextHops = [];
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case RTA_DST:
                    destination = AddressOf(attributes.Value);
                    break;
                case RTA_GATEWAY or RTA_VIA:
                    gateway = GatewayOf(attributes);
                    break;
                case RTA_OIF:
                    index = (int)attributes.UInt32;
                    break;
                case RTA_PRIORITY:
                    metric = attributes.UInt32;
                    break;
                case RTA_TABLE:
                    table = attributes.UInt32;
                    break;
                case RTA_MULTIPATH:
                    nextHops = attributes.Value;
                    break;
            }
        }
        if (table != RT_TABLE_MAIN && !allTables)
            return;
        destination ??= info.rtm_family == AF_INET ? IPAddress.Any : IPAddress.IPv6Any;
        var network = new IPNetwork(destination, info.rtm_dst_len);
        if (nextHops.IsEmpty)
        {
            routes.Add(new RouteInfo(network, gateway, index, metric) { Protocol = info.rtm_protocol });
            return;
        }
        // struct rtnexthop, its attributes, the next one; each with its length, on 4-byte boundaries.
        while (Split(nextHops, out rtnexthop hop, out _) && hop.rtnh_len >= 8 && hop.rtnh_len <= nextHops.Length)
        {
            var inner = new NetlinkAttributes(nextHops[8..hop.rtnh_len]);
            IPAddress? via = null;
            while (inner.Next())
            {
                if (inner.Type is RTA_GATEWAY or RTA_VIA)
                    via = GatewayOf(inner);
            }
            routes.Add(new RouteInfo(network, via, hop.rtnh_ifindex, metric) { Protocol = info.rtm_protocol });
            nextHops = nextHops[Math.Min((hop.rtnh_len + 3) & ~3, nextHops.Length)..];
        }
    }

    // RTA_VIA is a gateway of the other family: two bytes of family first (RFC 8950 gives IPv4 routes IPv6 next hops).
    private static IPAddress? GatewayOf(in NetlinkAttributes attribute) =>
        attribute.Type == RTA_VIA && attribute.Value.Length > 2 ? AddressOf(attribute.Value[2..]) : AddressOf(attribute.Value);
}
