using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

/// <summary>
/// The rules that desired state obeys. A batch is checked against the state it would lead to: its own resources, and those
/// that a changed network carries with it. Every problem is reported, not the first.
/// </summary>
public static partial class Validation
{
    /// <summary>MTU of IPv4 (RFC 791) and of IPv6 (RFC 8200), which every link must carry.</summary>
    private const uint MinMtu = 68, MinMtuIPv6 = 1280;

    /// <summary>A TAP device's limit: 65,535 less an Ethernet header.</summary>
    private const uint MaxMtu = 65_521;

    private const int MaxName = 63;

    /// <summary>IFNAMSIZ less the terminating zero.</summary>
    private const int MaxDeviceName = 15;

    /// <summary>Checks what a batch touches.</summary>
    /// <param name="after">The state after the batch.</param>
    /// <param name="wanted">Resources of the batch.</param>
    /// <param name="deleted">What it deletes.</param>
    /// <param name="problems">Where to report.</param>
    internal static void Check(DesiredState after, IReadOnlyList<Resource> wanted, IReadOnlyList<ResourceKey> deleted, ProblemCollector problems)
    {
        var networks = wanted.Where(r => r.Kind == Kind.Network).Select(r => r.Name).ToHashSet(StringComparer.Ordinal);
        var ports = wanted.Where(r => r.Kind == Kind.Port).Select(r => r.Name).ToHashSet(StringComparer.Ordinal);
        List<StaticMac> macs = [.. wanted.Where(r => r.Kind == Kind.StaticMac).Select(r => r.StaticMac)];
        if (networks.Count > 0)
        {
            // Ports and static MACs of a changed network must still fit into it.
            ports.UnionWith(after.Ports.Values.Where(p => networks.Contains(p.Spec.Network)).Select(p => p.Spec.Name));
        }
        if (networks.Count > 0 || ports.Count > 0)
        {
            HashSet<string> checkedAnyway = macs.Select(m => m.Name).ToHashSet(StringComparer.Ordinal);
            macs.AddRange(after.StaticMacs.Values.Where(m =>
                (networks.Contains(m.Network) || (m.TargetCase == StaticMac.TargetOneofCase.Port && ports.Contains(m.Port))) && !checkedAnyway.Contains(m.Name)));
        }

        foreach (string name in networks.Order(StringComparer.Ordinal))
        {
            CheckNetwork(after, after.Networks[name].Spec, problems);
        }
        foreach (string name in ports.Order(StringComparer.Ordinal))
        {
            CheckPort(after, after.Ports[name].Spec, problems);
        }
        foreach (StaticMac mac in macs)
        {
            CheckStaticMac(after, mac, problems);
        }
        CheckDeleted(after, deleted, problems);
    }

    private static void CheckDeleted(DesiredState after, IReadOnlyList<ResourceKey> deleted, ProblemCollector problems)
    {
        foreach (ResourceKey key in deleted)
        {
            List<string> users = key.Kind switch
            {
                Kind.Network => [.. after.PortsOf(key.Name).Select(p => $"port \"{p.Spec.Name}\""),
                    .. after.StaticMacs.Values.Where(m => m.Network == key.Name).Select(m => $"static MAC \"{m.Name}\"")],
                Kind.Port => [.. after.StaticMacs.Values
                    .Where(m => m.TargetCase == StaticMac.TargetOneofCase.Port && m.Port == key.Name).Select(m => $"static MAC \"{m.Name}\"")],
                _ => [],
            };
            if (users.Count > 0)
            {
                string more = users.Count > 5 ? $" and {users.Count - 5} more" : "";
                problems.Add(key.Kind, key.Name, "", $"is used by {string.Join(", ", users.Take(5))}{more}", "delete these first, or in the same call",
                    Grpc.Core.StatusCode.FailedPrecondition);
            }
        }
    }

    private static void CheckName(Kind kind, string name, ProblemCollector problems)
    {
        if (name.Length == 0)
        {
            problems.Add(kind, name, "name", "has no name");
        }
        else if (name.Length > MaxName || !char.IsAsciiLetterOrDigit(name[0]) || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-'))
        {
            problems.Add(kind, name, "name", $"a name has 1 to {MaxName} characters of A-Z a-z 0-9 . _ - and begins with a letter or a digit");
        }
    }

    /// <summary>Gives what is wrong with a unicast MAC address, or null.</summary>
    private static string? MacProblem(string text) =>
        !MacAddress.TryParse(text, out MacAddress mac) ? $"\"{text}\" is not a MAC address (02:42:ac:12:00:02)"
        : mac.IsZero ? "the MAC address is all zeroes"
        : mac.IsGroup ? $"{text} is a multicast MAC address: the first byte of a unicast address is even"
        : null;

    private static string? MtuProblem(uint mtu, bool ipv6) =>
        mtu == 0 ? null
        : mtu > MaxMtu ? $"MTU {mtu} is above {MaxMtu}"
        : ipv6 && mtu < MinMtuIPv6 ? $"MTU {mtu} is below {MinMtuIPv6}, which IPv6 needs (RFC 8200)"
        : mtu < MinMtu ? $"MTU {mtu} is below {MinMtu}"
        : null;
}
