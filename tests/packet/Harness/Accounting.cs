using Dataplane.Memory;

namespace Dataplane.PacketTests.Harness;

/// <summary>No packet disappears: the equations of <see cref="PortCounters"/>, for each worker and over all of them.</summary>
public static unsafe class Accounting
{
    public static void Check(TestSwitch sw, IEnumerable<int> ports)
    {
        ulong made = 0, offered = 0;
        foreach (int index in ports)
        {
            for (int worker = 0; worker < sw.Engine.Workers.Count; worker++)
            {
                Check($"worker {worker}, port {index}", in sw.Segment.Counters(worker)[index]);
            }
            PortCounters sum = sw.Counters(index);
            made += sum.Forwarded + sum.Copies + sum.Originated;
            offered += sum.Offered;
        }
        Assert.True(made == offered, $"forwarded, copied and originated {made}, offered {offered}");
    }

    private static void Check(string where, ref readonly PortCounters c)
    {
        Assert.True(c.RxPackets == c.Forwarded + c.Consumed + c.Held + c.IngressDrops,
            $"{where}: received {c.RxPackets}, forwarded {c.Forwarded}, consumed {c.Consumed}, held {c.Held}, dropped {c.IngressDrops}");
        Assert.True(c.Offered == c.TxPackets + c.EgressDrops,
            $"{where}: offered {c.Offered}, sent {c.TxPackets}, dropped {c.EgressDrops}");
    }
}
