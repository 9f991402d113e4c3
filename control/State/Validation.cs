using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

/// <summary>
/// The rules that desired state obeys. A batch is checked against the state it would lead to: its own resources, and those
/// that a changed one carries with it. Every problem is reported, not the first.
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

    private delegate void Report(string field, string message, string fix = "");

    /// <summary>Checks what a batch touches.</summary>
    /// <param name="before">The state before the batch, which obeys the rules.</param>
    /// <param name="after">The state after the batch.</param>
    /// <param name="wanted">Resources of the batch.</param>
    /// <param name="deleted">What it deletes.</param>
    /// <param name="problems">Where to report.</param>
    internal static void Check(
        DesiredState before, DesiredState after, IReadOnlyList<Resource> wanted, IReadOnlyList<ResourceKey> deleted, ProblemCollector problems)
    {
        Touched touched = Touched.By(before, after, wanted, deleted);
        foreach (string name in InOrder(touched.Networks))
        {
            CheckNetwork(after, after.Networks[name].Spec, problems);
        }
        foreach (string name in InOrder(touched.Overlays))
        {
            Network network = after.Networks[name].Spec;
            CheckVtep(after, network, network.Vxlan, (field, message, fix) => problems.Add(Kind.Network, name, field, message, fix));
        }
        foreach (string name in InOrder(touched.Policies))
        {
            CheckPolicy(after.Policies[name], problems);
        }
        foreach (string name in InOrder(touched.Ports))
        {
            CheckPort(after, after.Ports[name].Spec, problems);
        }
        foreach (StaticMac mac in touched.StaticMacs)
        {
            CheckStaticMac(after, mac, problems);
        }
        foreach (string name in InOrder(touched.Peers))
        {
            CheckPeer(after, after.Peers[name].Spec, problems);
        }
        foreach (Neighbour neighbour in touched.Neighbours)
        {
            CheckNeighbour(after, neighbour, problems);
        }
        foreach (string name in InOrder(touched.Routes))
        {
            CheckRoute(after, after.Routes[name], problems);
        }
        foreach (string name in touched.Services)
        {
            CheckService(after, after.Services.Services[name].Spec, problems);
        }
        foreach (string name in touched.Backends)
        {
            CheckBackend(after, after.Services.FindBackend(name)!, problems);
        }
        foreach (string service in touched.Servers)
        {
            CheckBackendsDiffer(after, service, problems);
        }
        foreach (string name in InOrder(touched.Published))
        {
            CheckPublished(after, after.Services.Published[name], problems);
        }
        foreach (PeerEntry peer in touched.Underlay(after, deleted))
        {
            CheckUnderlay(after, peer.Spec, touched, problems);
        }
        CheckDeleted(after, deleted, problems);
    }

    /// <summary>An enumeration of a sorted set makes a stack, be there nothing in it.</summary>
    private static IEnumerable<string> InOrder(SortedSet<string> names) => names.Count > 0 ? names : [];

    private static void CheckName(Kind kind, string name, ProblemCollector problems)
    {
        if (name.Length == 0)
        {
            problems.Add(kind, name, "name", "has no name");
        }
        else if (!IsName(name))
        {
            problems.Add(kind, name, "name", $"a name has 1 to {MaxName} characters of A-Z a-z 0-9 . _ - and begins with a letter or a digit");
        }
    }

    private static bool IsName(string name) =>
        name.Length is > 0 and <= MaxName && char.IsAsciiLetterOrDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or '-');

    /// <summary>Ports, routers' ports and peers share one table, in which each has a name of its own.</summary>
    private static void CheckPortName(DesiredState state, string name, PortRole role, Report report, string field)
    {
        foreach (NamedPort other in state.Topology.Ports.Where(p => p.Name == name && p.Role != role))
        {
            report(field, $"\"{name}\" is already {Describe(other)}", "choose another name");
        }

        static string Describe(NamedPort port) => port.Role switch
        {
            PortRole.Router => $"the name of the router's port of network \"{port.Network}\"",
            PortRole.Tunnel => "the name of a tunnel peer",
            _ => "the name of a port",
        };
    }

    /// <summary>Gives what is wrong with a unicast MAC address, or null.</summary>
    private static string? MacProblem(string text) => MacProblem(text, out _);

    private static string? MacProblem(string text, out MacAddress mac) =>
        !MacAddress.TryParse(text, out mac) ? $"\"{text}\" is not a MAC address (02:42:ac:12:00:02)"
        : mac.IsZero ? "the MAC address is all zeroes"
        : mac.IsGroup ? $"{text} is a multicast MAC address: the first byte of a unicast address is even"
        : null;

    private static string? MtuProblem(uint mtu, bool ipv6) =>
        mtu == 0 ? null
        : mtu > MaxMtu ? $"MTU {mtu} is above {MaxMtu}"
        : ipv6 && mtu < MinMtuIPv6 ? $"MTU {mtu} is below {MinMtuIPv6}, which IPv6 needs (RFC 8200)"
        : mtu < MinMtu ? $"MTU {mtu} is below {MinMtu}"
        : null;

    private static string ListNames(IEnumerable<string> names)
    {
        List<string> some = [.. names.Take(8)];
        return some.Count == 0 ? "(there is none)" : string.Join(", ", some);
    }
}
