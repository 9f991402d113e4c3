using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Manifests;

/// <summary>Kinds as the command line and files name them.</summary>
public static class KindNames
{
    public const string All = "network, port, static-mac, tunnel-peer, neighbour, route, service, backend, published-port, policy, node";

    /// <summary>Reads "network", "networks", "static-mac", "static_macs", "StaticMac" …</summary>
    public static bool TryParse(string text, out Kind kind)
    {
        string plain = text.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();
        kind = plain switch
        {
            "network" or "networks" or "net" => Kind.Network,
            "port" or "ports" => Kind.Port,
            "staticmac" or "staticmacs" or "mac" or "macs" => Kind.StaticMac,
            "tunnelpeer" or "tunnelpeers" or "peer" or "peers" => Kind.TunnelPeer,
            "neighbour" or "neighbours" or "neighbor" or "neighbors" or "neigh" => Kind.Neighbour,
            "route" or "routes" => Kind.Route,
            "service" or "services" or "svc" => Kind.Service,
            "backend" or "backends" or "be" => Kind.Backend,
            "publishedport" or "publishedports" or "pub" => Kind.PublishedPort,
            "policy" or "policies" => Kind.Policy,
            "node" or "nodes" => Kind.Node,
            _ => Kind.Unspecified,
        };
        return kind != Kind.Unspecified;
    }

    /// <summary>"network", "port", "static-mac", "route" …</summary>
    public static string Of(Kind kind) => kind switch
    {
        Kind.Network => "network",
        Kind.Port => "port",
        Kind.StaticMac => "static-mac",
        Kind.TunnelPeer => "tunnel-peer",
        Kind.Neighbour => "neighbour",
        Kind.Route => "route",
        Kind.Service => "service",
        Kind.Backend => "backend",
        Kind.PublishedPort => "published-port",
        Kind.Policy => "policy",
        Kind.Node => "node",
        _ => "resource",
    };
}
