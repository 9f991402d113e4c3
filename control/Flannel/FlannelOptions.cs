using System.Net;

namespace Dataplane.Control.Flannel;

/// <summary>How this node takes part in a flannel network.</summary>
internal sealed record FlannelOptions
{
    /// <summary>flannel's.</summary>
    public const string DefaultPrefix = "/coreos.com/network";

    /// <summary>What flannel's keys begin with; no slash at its end. A network among several of old flannelds has its name in it.</summary>
    public string Prefix { get; init; } = DefaultPrefix;

    /// <summary>Name of the routed port to the underlay.</summary>
    public required string Underlay { get; init; }

    /// <summary>Address by which the other nodes reach this one; null for the first one of the underlay's port.</summary>
    public IPAddress? PublicIP { get; init; }

    public IPAddress? PublicIPv6 { get; init; }

    /// <summary>Where subnet.env is.</summary>
    public string SubnetFile { get; init; } = Flannel.SubnetFile.DefaultPath;

    /// <summary>How long a lease lasts.</summary>
    public TimeSpan Term { get; init; } = SubnetManager.DefaultTerm;

    /// <summary>How often to look whether something is due, and to try again what failed. flanneld's is a second too.</summary>
    public TimeSpan Interval { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>A prefix as path.Join of Go leaves it: one slash between its parts, none at the end.</summary>
    public static string Clean(string prefix)
    {
        string joined = string.Join('/', prefix.Split('/', StringSplitOptions.RemoveEmptyEntries));
        return prefix.StartsWith('/') ? $"/{joined}" : joined;
    }
}
