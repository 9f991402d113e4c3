using System.Diagnostics;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>The counters of an engine's workers at one moment.</summary>
internal readonly record struct EngineReading(long Time, WorkerRecord[] Workers, ulong Sent, ulong Collections)
{
    public ulong AllocatedBytes => Workers.Aggregate(0ul, (sum, worker) => sum + worker.AllocatedBytes);
}

/// <summary>Reads the engine's counters from its segment.</summary>
internal sealed unsafe class EngineMeter(Segment segment, int workers, int ports, IReadOnlyList<int> innerPorts)
{
    public EngineReading Read()
    {
        ulong sent = 0;
        var records = new WorkerRecord[workers];
        for (int w = 0; w < workers; w++)
        {
            for (int i = 0; i < ports; i++)
            {
                sent += Volatile.Read(ref segment.Counters(w)[Scenario.FirstPort + i].TxPackets);
            }
            records[w] = segment.Workers[w];
        }
        // A worker adds to these between two bursts; that they are of slightly different instants is a burst in millions.
        return new EngineReading(Stopwatch.GetTimestamp(), records, sent, segment.Header.EngineCollections);
    }

    public static Window Between(EngineReading from, EngineReading to)
    {
        double packets = Difference(worker => worker.Packets);
        double polls = Difference(worker => worker.Polls);
        return new Window
        {
            PacketsPerSecond = (to.Sent - from.Sent) / Stopwatch.GetElapsedTime(from.Time, to.Time).TotalSeconds,
            BusyClocks = packets == 0 ? null : Difference(worker => worker.BusyCycles) / packets,
            StageClocks = packets == 0 ? null : Difference(worker => worker.StageCycles) / packets,
            EmptyPolls = polls == 0 ? null : Difference(worker => worker.EmptyPolls) / polls,
            Shares = packets == 0 ? null : [.. to.Workers.Zip(from.Workers, (after, before) => (after.Packets - before.Packets) / packets)],
        };

        double Difference(Func<WorkerRecord, ulong> field) =>
            to.Workers.Zip(from.Workers, (after, before) => (double)(field(after) - field(before))).Sum();
    }

    /// <summary>What the promises are about: no allocation, no collection, no packet lost without a reason. After the ports are gone.</summary>
    public Dictionary<string, object> Facts(EngineReading from, EngineReading to)
    {
        PortCounters sum = default;
        bool balanced = true;
        foreach (int index in Enumerable.Range(Scenario.FirstPort, ports).Concat(innerPorts))
        {
            PortCounters port = default;
            for (int w = 0; w < workers; w++)
            {
                port.Add(in segment.Counters(w)[index]);
            }
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
            ["allocatedBytes"] = to.AllocatedBytes - from.AllocatedBytes,
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
