using System.Net;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// What Kubernetes asks of a cluster's network: containers reach each other without NAT, nodes reach containers and are reached
/// without NAT, and the address that somebody sees himself have is the one by which others see him.
/// </summary>
public static class KubernetesRules
{
    /// <summary>Fails unless the rules hold between any two of these, in both directions, for TCP and UDP.</summary>
    public static void Hold(IReadOnlyList<Station> stations)
    {
        foreach (Station station in stations)
        {
            Assert.Contains($" {station.Address}/", station.Namespace.Do("ip", "-o", "address", "show", "dev", station.Device), StringComparison.Ordinal);
        }
        foreach ((Station from, Station to) in Pairs(stations))
        {
            // What crosses a tunnel first finds that the nodes do not know each other's address on the link.
            var conversation = new Conversation(from, to);
            conversation.Connects();
            (IPEndPoint own, IPEndPoint seen) = conversation.ViewsByTcp();
            Assert.Equal(IPAddress.Parse(from.Address), own.Address);
            Assert.Equal(own, seen);
            (IPEndPoint sender, IPEndPoint receiver) = conversation.ViewsByUdp();
            Assert.Equal(new IPEndPoint(IPAddress.Parse(from.Address), Conversation.Port), sender);
            Assert.Equal(new IPEndPoint(IPAddress.Parse(to.Address), Conversation.Port), receiver);
        }
    }

    /// <summary>All that can speak to each other: two different stations' addresses of one family.</summary>
    public static IEnumerable<(Station From, Station To)> Pairs(IReadOnlyList<Station> stations) =>
        from one in stations from other in stations where one.Namespace != other.Namespace && one.Any.Equals(other.Any) select (one, other);
}
