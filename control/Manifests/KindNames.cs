using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Manifests;

/// <summary>Kinds as the command line and files name them.</summary>
public static class KindNames
{
    public const string All = "network, port, static-mac";

    /// <summary>Reads "network", "networks", "static-mac", "static_macs", "StaticMac" …</summary>
    public static bool TryParse(string text, out Kind kind)
    {
        string plain = text.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();
        kind = plain switch
        {
            "network" or "networks" or "net" => Kind.Network,
            "port" or "ports" => Kind.Port,
            "staticmac" or "staticmacs" or "mac" or "macs" => Kind.StaticMac,
            _ => Kind.Unspecified,
        };
        return kind != Kind.Unspecified;
    }

    /// <summary>"network", "port", "static-mac".</summary>
    public static string Of(Kind kind) => kind switch
    {
        Kind.Network => "network",
        Kind.Port => "port",
        _ => "static-mac",
    };
}
