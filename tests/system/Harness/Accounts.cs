using Dataplane.Control.Api.V1;

namespace Dataplane.SystemTests.Harness;

/// <summary>No packet disappears without a reason.</summary>
public static class Accounts
{
    /// <summary>
    /// received = forwarded + consumed + dropped, offered = sent + dropped, on every port, and the reasons add up to the
    /// drops. Counters are read while packets flow, so an imbalance must go away.
    /// </summary>
    public static void Balance(IReadOnlyList<PortCounters> ports) => Assert.All(ports, port =>
    {
        Assert.Equal(port.RxPackets, port.Forwarded + port.Consumed + port.Held + port.IngressDrops);
        Assert.Equal(port.Offered, port.TxPackets + port.EgressDrops);
        Assert.Equal(port.IngressDrops, Sum(port.Drops.Where(d => !d.Egress)));
        Assert.Equal(port.EgressDrops, Sum(port.Drops.Where(d => d.Egress)));
    });

    /// <summary>As above for every port of a switch, and over all of them: what was offered is what was forwarded, with its copies.</summary>
    public static void Balance(Switch running) => Until.Holds(() =>
    {
        IReadOnlyList<PortCounters> ports = running.Api.AllCounters;
        Balance(ports);
    });

    private static ulong Sum(IEnumerable<DropCount> drops) => drops.Aggregate(0ul, (sum, drop) => sum + drop.Packets);
}
