using System.Runtime.CompilerServices;
using Dataplane.Observation;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// What happens when a packet's source tells something new (IEEE 802.1D, 7.8): an address not known, on another port than
/// before, last seen in an earlier second, or with an entry of the administrator. Out of line: packets of settled
/// conversations do not come here.
/// <para>
/// Addresses that cannot be a source are refused here too: they are never learned, so a packet that carries one always comes
/// here. An address that becomes the bridge's own while it is known on a port is refused within a second.
/// </para>
/// </summary>
public static unsafe class LearnStage
{
    /// <summary>Learns a source address. False when the packet must be dropped.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool Source(
        Worker w, int inPort, ref readonly PortRecord port, ref readonly BridgeRecord bridge, ulong key, MacBucket* bucket, out DropReason reason)
    {
        reason = SourceProblem(in port, in bridge, key & MacAddress.Mask);
        if (reason != DropReason.Count)
        {
            return false;
        }
        ulong value = w.Macs.FindIn(w.Generation, key, bucket);
        if ((value & MacValue.FreshMask) == MacValue.Fresh((ushort)inPort, w.NowSeconds))
        {
            w.Watcher.Step(TraceStep.SourceKnown, inPort, key);
            return true; // learned a moment ago, or not in its first bucket
        }
        if (MacValue.IsDrop(value))
        {
            reason = DropReason.BlackHole;
            return false;
        }
        if (MacValue.IsStatic(value))
        {
            // The host has the address of the router of its bridge.
            if (MacValue.Port(value) == inPort || ((key & MacAddress.Mask) == bridge.Mac && port.Has(PortFlags.Host)))
            {
                w.Watcher.Step(TraceStep.SourceStatic, inPort, key);
                return true;
            }
            reason = DropReason.SourceStatic;
            return false;
        }
        if ((port.Flags & PortFlags.Learning) == 0)
        {
            w.Watcher.Step(TraceStep.SourceIgnored, inPort, key);
            return true;
        }

        ref PortRuntime runtime = ref w.Segment.PortRuntime[inPort];
        bool isNew = value == 0 || MacValue.Port(value) != inPort;
        bool allowed = true;
        if (isNew && port.LearnLimit != 0 && runtime.Learned >= (long)port.LearnLimit)
        {
            // The limit holds for an address that moves here, too: it stays where it was known.
            Interlocked.Increment(ref runtime.LearnLimited);
            w.Event(EventKind.LearnLimit, inPort, key, port.Bridge);
            w.Watcher.Step(TraceStep.SourceLimited, inPort, key);
            return true;
        }
        if (value == 0 && bridge.LearnLimit != 0 && w.Segment.BridgeRuntime[port.Bridge].Learned >= (long)bridge.LearnLimit)
        {
            Interlocked.Increment(ref w.Segment.BridgeRuntime[port.Bridge].LearnLimited);
            w.Event(EventKind.LearnLimit, inPort, key, port.Bridge);
            allowed = false;
        }

        switch (w.Macs.Learn(key, (ushort)inPort, w.NowSeconds, allowed, out ushort oldPort))
        {
            case LearnResult.Learned:
                LearnedCounts.Add(w.Segment, inPort, port.Bridge);
                w.Watcher.Step(TraceStep.SourceLearned, inPort, key);
                return true;
            case LearnResult.Moved:
                LearnedCounts.Move(w.Segment, oldPort, inPort);
                Interlocked.Increment(ref runtime.Moves);
                w.Watcher.Step(TraceStep.SourceMoved, inPort, key, oldPort);
                return true;
            case LearnResult.Flapping:
                LearnedCounts.Move(w.Segment, oldPort, inPort);
                Interlocked.Increment(ref runtime.Moves);
                Interlocked.Increment(ref runtime.Flaps);
                w.Event(EventKind.MacFlap, inPort, key, port.Bridge, oldPort);
                w.Watcher.Step(TraceStep.SourceFlapping, inPort, key, oldPort);
                return true;
            case LearnResult.Full:
                Interlocked.Increment(ref runtime.TableFull);
                w.Watcher.Step(TraceStep.SourceTableFull, inPort, key);
                return true;
            case LearnResult.StaticElsewhere: // the administrator was faster
                reason = DropReason.SourceStatic;
                return false;
            case LearnResult.BlackHole:
                reason = DropReason.BlackHole;
                return false;
            case LearnResult.Refused:
                w.Watcher.Step(TraceStep.SourceLimited, inPort, key);
                return true;
            default:
                w.Watcher.Step(TraceStep.SourceKnown, inPort, key);
                return true;
        }
    }

    private static DropReason SourceProblem(ref readonly PortRecord port, ref readonly BridgeRecord bridge, ulong source)
    {
        if (source == 0)
        {
            return DropReason.SourceZero;
        }
        if ((source & 1) != 0)
        {
            return DropReason.SourceMulticast;
        }
        return source == bridge.Mac && !port.Has(PortFlags.Host) ? DropReason.SourceOwn : DropReason.Count;
    }
}
