using System.Net;

namespace Dataplane.SystemTests.Nat;

/// <summary>
/// Three links of a router: 1, with hosts whose packets to link 3 are masqueraded; 2, with the servers of two services; 3, behind whose
/// gateway the world is. The address that the router has on link 3 is the one that hosts get.
/// </summary>
/// <param name="Routers">The router's addresses on the links, with the length of the subnet.</param>
/// <param name="Hosts">On link 1.</param>
/// <param name="Servers">On link 2.</param>
/// <param name="Gateway">On link 3.</param>
/// <param name="World">Behind the gateway; the last one has no service and sends errors.</param>
/// <param name="Vip">UDP port 53 is port 5353 of the first server, TCP port 80 is port 8080 of the second.</param>
public sealed record NatNet(string[] Routers, string[] Hosts, string[] Servers, string Gateway, string[] World, string Vip)
{
    public const int Inside = 1, Middle = 2, Outside = 3;

    public static NatNet V4 { get; } = new(["10.0.1.1/24", "10.0.2.1/24", "192.0.2.1/24"], ["10.0.1.2", "10.0.1.3", "10.0.1.4"],
        ["10.0.2.10", "10.0.2.11"], "192.0.2.254", ["198.51.100.1", "198.51.100.2", "203.0.113.1"], "10.96.0.1");

    public static NatNet V6 { get; } = new(["fd00:1::1/64", "fd00:2::1/64", "2001:db8::1/64"], ["fd00:1::2", "fd00:1::3", "fd00:1::4"],
        ["fd00:2::10", "fd00:2::11"], "2001:db8::fe", ["2001:db8:1::1", "2001:db8:1::2", "2001:db8:9::1"], "fd96::1");

    public bool IsV6 => Vip.Contains(':', StringComparison.Ordinal);

    public string Masqueraded => Routers[2][..Routers[2].IndexOf('/', StringComparison.Ordinal)];

    /// <summary>The stations of the links that the router knows beforehand: link, address, number of its MAC address.</summary>
    public IEnumerable<(int Link, string Address, int Number)> Stations =>
        [.. Hosts.Select((h, i) => (Inside, h, i + 2)), .. Servers.Select((s, i) => (Middle, s, i + 10)), (Outside, Gateway, 2)];

    /// <summary>The station from which packets of an address come.</summary>
    public (int Link, int Number) StationOf(string address) =>
        Stations.Where(s => s.Address == address).Select(s => (s.Link, s.Number)).FirstOrDefault((Outside, 2));

    /// <summary>"192.0.2.1:80" or "[2001:db8::1]:80".</summary>
    public static string At(string address, int port) => new IPEndPoint(IPAddress.Parse(address), port).ToString();
}
