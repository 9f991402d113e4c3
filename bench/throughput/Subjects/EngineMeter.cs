using System.Diagnostics;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>The counters of an engine's only worker at one moment.</summary>
internal readonly record struct EngineReading(long Time, WorkerRecord Worker, ulong Sent, ulong Collections);

/// <summary>Reads the engine's counters from its segment.</summary>
internal sealed unsafe class EngineMeter(Segment segment, int ports, IReadOnlyList<int> innerPorts)
{
    private const int Worker = 0;

    public EngineReading Read()
    {
        ulong sent = 0;
        for (int i = 0; i < ports; i++)
        {
            sent += Volatile.Read(ref segment.Counters(Worker)[Scenario.FirstPort + i].TxPackets);
        }
        // A worker adds to these between two bursts; that they are of slightly different instants is a burst in millions.
        return new EngineReading(Stopwatch.GetTimestamp(), segment.Workers[Worker], sent, segment.Header.EngineCollections);
    }

    public static Window Between(EngineReading from, EngineReading to)
    {
        double packets = to.Worker.Packets - from.Worker.Packets;
        double polls = to.Worker.Polls - from.Worker.Polls;
        return new Window
        {
            PacketsPerSecond = (to.Sent - from.Sent) / Stopwatch.GetElapsedTime(from.Time, to.Time).TotalSeconds,
            BusyClocks = packets == 0 ? null : (to.Worker.BusyCycles - from.Worker.BusyCycles) / packets,
            StageClocks = packets == 0 ? null : (to.Worker.StageCycles - from.Worker.StageCycles) / packets,
            EmptyPolls = polls == 0 ? null : (to.Worker.EmptyPolls - from.Worker.EmptyPolls) / polls,
        };
    }

    /// <summary>What the promises are about: no allocation, no collection, no packet lost without a reason. After the ports are gone.</summary>
    public Dictionary<string, object> Facts(EngineReading from, EngineReading to)
    {
        PortCounters sum = default;
        bool balanced = true;
        foreach (int index in Enumerable.Range(Scenario.FirstPort, ports).Concat(innerPorts))
        {
            ref readonly PortCounters port = ref segment.Counters(Worker)[index];
            balanced &= port.RxPackets == port.Forwarded + port.Consumed + port.Held + port.IngressDrops && port.Offered == port.TxPackets + port.EgressDrops;
            sum.Add(in port);
        }
        balanced &= sum.Forwarded + sum.Copies + sum.Originated == sum.Offered;
        var drops = new Dictionary<string, ulong>();
        foreach (DropReason reason in DropReasons.All.Where(reason => sum.Drops[(int)reason] != 0))
        {
            drops.Add(reason.Name(), sum.Drops[(int)reason]);
        }
        return new Dictionary<string, object>
        {
            ["allocatedBytes"] = to.Worker.AllocatedBytes - from.Worker.AllocatedBytes,
            ["collections"] = to.Collections - from.Collections,
            ["countersBalance"] = balanced,
            ["received"] = sum.RxPackets,
            ["sent"] = sum.TxPackets,
            ["flooded"] = sum.Flooded,
            ["drops"] = drops,
            ["packetsPerReceive"] = sum.RxBursts == 0 ? 0 : (double)sum.RxPackets / sum.RxBursts,
        };
    }
}
