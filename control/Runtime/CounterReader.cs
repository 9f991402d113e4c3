using Dataplane.Control.Api.V1;
using Dataplane.Control.Engine;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Google.Protobuf.WellKnownTypes;

namespace Dataplane.Control.Runtime;

/// <summary>Counters out of the segment, summed over the workers. Nothing here disturbs a worker.</summary>
public sealed unsafe class CounterReader(Segment segment, IEngineLink engine, TimeProvider clock)
{
    /// <summary>Without a sign of life for so long the engine counts as stalled.</summary>
    private static readonly TimeSpan StalledAfter = TimeSpan.FromSeconds(2);

    public Api.V1.PortCounters Port(NamedPort port)
    {
        Memory.PortCounters sum = Sum(port.Index);
        ref readonly PortRuntime runtime = ref segment.PortRuntime[port.Index];
        var answer = new Api.V1.PortCounters
        {
            Port = port.Name,
            Network = port.Network,
            RxPackets = sum.RxPackets,
            RxBytes = sum.RxBytes,
            TxPackets = sum.TxPackets,
            TxBytes = sum.TxBytes,
            Forwarded = sum.Forwarded,
            Consumed = sum.Consumed,
            Held = sum.Held,
            Offered = sum.Offered,
            Copies = sum.Copies,
            Originated = sum.Originated,
            Flooded = sum.Flooded,
            RxMulticast = sum.RxMulticast,
            SoftwareChecksums = sum.SoftwareChecksums,
            SoftwareSegmented = sum.SoftwareSegmented,
            IngressDrops = sum.IngressDrops,
            EgressDrops = sum.EgressDrops,
            LearnedMacs = (uint)Math.Max(0, runtime.Learned),
            MacMoves = runtime.Moves,
            MacFlaps = runtime.Flaps,
            LearnLimited = runtime.LearnLimited,
            TableFull = runtime.TableFull,
        };
        answer.Drops.AddRange(Counts(sum.Drops, withZero: false));
        return answer;
    }

    /// <summary>Drops by reason.</summary>
    /// <param name="ports">Indices of ports, or null for all, those deleted meanwhile included.</param>
    /// <param name="withZero">Also reasons that never occurred.</param>
    public IEnumerable<DropCount> Drops(IEnumerable<int>? ports, bool withZero)
    {
        var total = new Memory.PortCounters();
        foreach (int index in ports ?? Enumerable.Range(0, segment.MaxPorts))
        {
            Memory.PortCounters one = Sum(index);
            total.Add(in one);
        }
        return Counts(total.Drops, withZero);
    }

    public WorkerStats Workers()
    {
        var answer = new WorkerStats { TscHz = segment.Header.TscHz };
        int workers = Math.Min((int)segment.Header.EngineWorkers, segment.MaxWorkers);
        for (int i = 0; i < workers; i++)
        {
            ref readonly WorkerRecord record = ref segment.Workers[i];
            answer.Workers.Add(new WorkerCounters
            {
                Worker = (uint)i,
                Cpu = record.Cpu,
                Polls = record.Polls,
                EmptyPolls = record.EmptyPolls,
                Packets = record.Packets,
                BusyCycles = record.BusyCycles,
                StageCycles = record.StageCycles,
                Sleeps = record.Sleeps,
                AllocatedBytes = record.AllocatedBytes,
                HandedOver = record.HandedOver,
                EventsLost = record.EventsLost,
                LongestPollCycles = record.LongestPoll,
            });
        }
        return answer;
    }

    public EngineStatus Engine(DesiredState state, InstanceInfo instance)
    {
        ref readonly SegmentHeader header = ref segment.Header;
        string? unavailable = engine.WhyUnavailable;
        TimeSpan heartbeat = Since(header.EngineHeartbeat);
        return new EngineStatus
        {
            Instance = instance.Name,
            Version = NodeReader.Version,
            State = engine.IsFailing ? EngineStatus.Types.State.Failed
                : unavailable is not null ? EngineStatus.Types.State.Starting
                : heartbeat > StalledAfter ? EngineStatus.Types.State.Stalled
                : EngineStatus.Types.State.Running,
            Reason = unavailable ?? (heartbeat > StalledAfter ? $"no sign of life for {heartbeat.TotalSeconds:0.0} s" : ""),
            ControlPid = (uint)Environment.ProcessId,
            EnginePid = header.EnginePid,
            ControlStarted = Timestamp.FromDateTimeOffset(instance.Started),
            EngineUptime = Duration.FromTimeSpan(unavailable is null ? Since(header.EngineStarted) : TimeSpan.Zero),
            HeartbeatAge = Duration.FromTimeSpan(heartbeat),
            GarbageCollections = header.EngineCollections,
            EngineStarts = header.EngineStarts,
            Workers = header.EngineWorkers,
            Networks = (uint)state.Networks.Count,
            Ports = (uint)state.Ports.Count,
            Routes = (ulong)state.Routes.Count,
            Peers = (uint)state.Peers.Count,
            PortsUp = (uint)state.Ports.Values.Count(p => segment.PortRuntime[p.Index].State == PortState.Up && p.Spec.EnabledInForce),
            MacEntries = MacEntries(state),
            MacCapacity = (ulong)segment.Macs.BucketCount * MacBucket.Ways / 2,
            BuffersTotal = header.BuffersTotal,
            BuffersFree = header.BuffersFree,
            Generation = segment.Generation,
            Revision = state.Revision,
            SegmentPath = instance.SegmentPath,
            SegmentBytes = segment.Length,
            EngineLog = instance.EngineLog,
        };
    }

    private ulong MacEntries(DesiredState state) =>
        (ulong)(state.Networks.Values.Sum(n => (long)Math.Max(0, segment.BridgeRuntime[n.Index].Learned)) + state.StaticMacs.Count);

    private Memory.PortCounters Sum(int port)
    {
        var sum = new Memory.PortCounters();
        for (int worker = 0; worker < segment.MaxWorkers; worker++)
        {
            sum.Add(in segment.Counters(worker)[port]);
        }
        return sum;
    }

    private static IEnumerable<DropCount> Counts(DropCounts drops, bool withZero) =>
        DropReasons.All.Select(r => new DropCount { Reason = r.Name(), Packets = drops[(int)r], Text = r.Text(), Egress = r.IsEgress() })
            .Where(d => withZero || d.Packets > 0);

    /// <summary>Time since an instant of CLOCK_MONOTONIC in nanoseconds; zero when it never was.</summary>
    private TimeSpan Since(ulong nanoseconds)
    {
        // Stopwatch is CLOCK_MONOTONIC in nanoseconds on Linux, as is TimeProvider.System.
        ulong now = (ulong)(clock.GetTimestamp() * (1_000_000_000.0 / clock.TimestampFrequency));
        return nanoseconds == 0 || nanoseconds > now ? TimeSpan.Zero : TimeSpan.FromTicks((long)((now - nanoseconds) / 100));
    }
}
