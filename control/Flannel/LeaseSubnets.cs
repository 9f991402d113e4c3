using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.RegularExpressions;
using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>
/// The subnets of one lease, one per address family in use, and the name of its key: "10.5.34.0-24",
/// "10.5.34.0-24&amp;fd00:10:0:7::-64". Without IPv4 the key begins with the empty "0.0.0.0-0", as flannel writes it.
/// </summary>
internal readonly partial record struct LeaseSubnets(Cidr? IPv4, Cidr? IPv6)
{
    private const string NoIPv4 = "0.0.0.0-0";

    public IEnumerable<Cidr> All => new[] { IPv4, IPv6 }.OfType<Cidr>();

    public bool Overlaps(LeaseSubnets other) =>
        (IPv4 is { } a && other.IPv4 is { } b && a.Overlaps(b)) || (IPv6 is { } c && other.IPv6 is { } d && c.Overlaps(d));

    /// <summary>The key's name, without what stands before it.</summary>
    public string Key
    {
        get
        {
            string ipv4 = IPv4 is { } a ? $"{a.Address}-{a.Length}" : NoIPv4;
            return IPv6 is { } b ? $"{ipv4}&{b.Address.GoText}-{b.Length}" : ipv4;
        }
    }

    /// <summary>Reads the name of a key; only the form that <see cref="Key"/> has is one, so that a lease has one key and no other.</summary>
    public static bool TryParse(string key, [NotNullWhen(true)] out LeaseSubnets? subnets)
    {
        subnets = null;
        Match match = Form().Match(key);
        if (!match.Success)
        {
            return false;
        }
        bool none = match.Groups["v4"].Value == NoIPv4;
        Cidr? ipv4 = null, ipv6 = null;
        if ((!none && !TryParse(match.Groups["a4"], match.Groups["l4"], 31, out ipv4))
            || (match.Groups["a6"].Success && !TryParse(match.Groups["a6"], match.Groups["l6"], 127, out ipv6))
            || (ipv4 is null && ipv6 is null))
        {
            return false;
        }
        var read = new LeaseSubnets(ipv4, ipv6);
        subnets = read.Key == key ? read : null;
        return subnets is not null;
    }

    public override string ToString() => string.Join(" and ", All);

    private static bool TryParse(Group address, Group length, int most, out Cidr? prefix)
    {
        prefix = null;
        if (!Cidr.TryParse($"{address.Value}/{length.Value}", out Cidr cidr) || cidr.Length == 0 || cidr.Length > most || cidr.Prefix != cidr)
        {
            return false;
        }
        prefix = cidr;
        return true;
    }

    [GeneratedRegex(@"^(?<v4>(?<a4>[0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)-(?<l4>[0-9]+))(?:&(?<a6>[a-f0-9:]+)-(?<l6>[0-9]+))?$", RegexOptions.CultureInvariant)]
    private static partial Regex Form();
}
