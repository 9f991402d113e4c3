using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

// What comes from the link changes what is known.
public static unsafe partial class NeighbourStage
{
    /// <summary>How often a worker looks again when others change an entry at the same time. What it has to tell is told anew.</summary>
    private const int Attempts = 4;

    /// <summary>
    /// A station says that an address is its own (RFC 826; RFC 4861, 7.2.3): an entry that says something else is changed, one that
    /// said the same stays as it is, and a new one is made where the station will need an answer.
    /// </summary>
    /// <param name="w">The worker.</param>
    /// <param name="key">The station's address, on the interface.</param>
    /// <param name="mac">Lowest byte first on the wire.</param>
    /// <param name="proven">It answers a question of ours, so it is reachable.</param>
    /// <param name="makesNew">Whether a new entry may be made.</param>
    private static void Learn(Worker w, in NeighbourKey key, ulong mac, bool proven, bool makesNew)
    {
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            if (!w.Neighbours.TryFind(in key, out NeighbourSlot slot))
            {
                if (makesNew)
                {
                    Make(w, in key, mac);
                }
                return;
            }
            ulong value = slot.Value;
            NeighbourState state = NeighbourValue.State(value);
            if (state is NeighbourState.None or NeighbourState.Permanent)
            {
                return;
            }
            bool isNews = !NeighbourValue.IsUsable(value) || NeighbourValue.Mac(value) != mac;
            if (!proven && !isNews)
            {
                return;
            }
            // Who is in the midst of a probe of the same address goes on with it, unless this is the answer.
            NeighbourState next = proven ? NeighbourState.Reachable : NeighbourState.Stale;
            if (Change(w, in key, slot, value, NeighbourValue.Make(next, mac, NeighbourValue.Flags(value))))
            {
                return;
            }
        }
    }

    /// <summary>A neighbour advertisement (RFC 4861, 7.2.5).</summary>
    private static void Advertised(Worker w, in NeighbourKey key, in DiscoveryMessage message)
    {
        bool isSolicited = (message.Flags & DiscoveryMessage.SolicitedFlag) != 0, overrides = (message.Flags & DiscoveryMessage.OverrideFlag) != 0;
        NeighbourFlags flags = (message.Flags & DiscoveryMessage.RouterFlag) != 0 ? NeighbourFlags.Router : NeighbourFlags.None;
        for (int attempt = 0; attempt < Attempts; attempt++)
        {
            ulong value = w.Neighbours.TryFind(in key, out NeighbourSlot slot) ? slot.Value : 0;
            NeighbourState state = NeighbourValue.State(value), next = state;
            ulong mac = NeighbourValue.Mac(value);
            if (state is NeighbourState.None or NeighbourState.Permanent)
            {
                return;
            }
            if (!NeighbourValue.IsUsable(value))
            {
                if (message.Mac == 0)
                {
                    return; // nothing was learned
                }
                (mac, next) = (message.Mac, isSolicited ? NeighbourState.Reachable : NeighbourState.Stale);
            }
            else
            {
                bool differs = message.Mac != 0 && message.Mac != mac;
                if (differs && !overrides)
                {
                    // It is in doubt, no more than that.
                    if (state != NeighbourState.Reachable)
                    {
                        return;
                    }
                    (next, flags) = (NeighbourState.Stale, NeighbourValue.Flags(value));
                }
                else
                {
                    mac = differs ? message.Mac : mac;
                    next = isSolicited ? NeighbourState.Reachable : differs ? NeighbourState.Stale : state;
                }
            }
            if (Change(w, in key, slot, value, NeighbourValue.Make(next, mac, flags)))
            {
                return;
            }
        }
    }

    private static bool Change(Worker w, in NeighbourKey key, NeighbourSlot slot, ulong from, ulong to)
    {
        if (!NeighbourTable.TryChange(slot, from, to, w.NowSeconds))
        {
            return false;
        }
        if (!NeighbourValue.IsUsable(from))
        {
            w.TellNeighbourNews();
        }
        w.Watcher.Step(TraceStep.NeighbourLearned, key.Port, NeighbourValue.Mac(to), (ulong)NeighbourValue.State(to));
        return true;
    }

    private static void Make(Worker w, in NeighbourKey key, ulong mac)
    {
        if (w.Neighbours.Insert(in key, NeighbourValue.Make(NeighbourState.Stale, mac), w.NowSeconds, out _) == NeighbourResult.Full)
        {
            Spare(w, in key);
            return;
        }
        w.Watcher.Step(TraceStep.NeighbourLearned, key.Port, mac, (ulong)NeighbourState.Stale);
    }
}
