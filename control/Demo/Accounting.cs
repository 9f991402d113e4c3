using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Demo;

/// <summary>The equations of the counters, as the API states them.</summary>
internal static class Accounting
{
    public static IReadOnlyList<string> Problems(IEnumerable<PortCounters> ports)
    {
        var problems = new List<string>();
        ulong handedOver = 0, offered = 0;
        foreach (PortCounters p in ports)
        {
            if (p.RxPackets != p.Forwarded + p.Consumed + p.Held + p.IngressDrops)
            {
                problems.Add($"port {p.Port}: received {p.RxPackets} is not " +
                    $"forwarded {p.Forwarded} + consumed {p.Consumed} + dropped {p.IngressDrops}");
            }
            if (p.Offered != p.TxPackets + p.EgressDrops)
            {
                problems.Add($"port {p.Port}: offered {p.Offered} is not sent {p.TxPackets} + dropped {p.EgressDrops}");
            }
            handedOver += p.Forwarded + p.Copies + p.Originated;
            offered += p.Offered;
        }
        if (handedOver != offered)
        {
            problems.Add($"forwarded, copied and originated packets are {handedOver} together, but {offered} were offered to ports");
        }
        return problems;
    }
}
