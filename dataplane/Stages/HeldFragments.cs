using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// Fragments that came before the first fragment of their datagram, which alone says by its ports what is to become of all. They wait a
/// short time for it, for links seldom reorder by more, and no memory is to be filled with halves of datagrams (RFC 4963). One worker's.
/// </summary>
public sealed unsafe class HeldFragments
{
    /// <summary>Packets that wait at most.</summary>
    public const int Capacity = 64;

    /// <summary>How long, in nanoseconds, and how often is looked whether another worker has seen the first fragment.</summary>
    public const ulong Patience = 100_000_000;
    private const ulong Interval = 2_000_000;

    private struct Held
    {
        public rte_mbuf* Mbuf;
        public int Port;
        public ulong Deadline;
        public ConnectionKey Key;
    }

    private readonly Held[] _held = new Held[Capacity];
    private bool _ticks;

    public int Count { get; private set; }

    /// <summary>When <see cref="Tick"/> is due, in nanoseconds.</summary>
    public ulong Next { get; private set; } = ulong.MaxValue;

    /// <summary>Keeps a packet, if there is room. It is counted as held then.</summary>
    /// <param name="w">The worker.</param>
    /// <param name="port">The interface by which it came.</param>
    /// <param name="mbuf">The packet as it came.</param>
    /// <param name="key">Its datagram.</param>
    public bool TryHold(Worker w, int port, rte_mbuf* mbuf, in ConnectionKey key)
    {
        // What goes on does not come back.
        if (Count == Capacity || _ticks)
        {
            return false;
        }
        ulong now = w.Storm.Now;
        _held[Count++] = new Held { Mbuf = mbuf, Port = port, Deadline = now + Patience, Key = key };
        Next = Math.Min(Next, now + Interval);
        w.Counters(port)->Held++;
        return true;
    }

    /// <summary>A first fragment was seen: those that wait for it go on with the next turn.</summary>
    public void Hurry() => Next = Count == 0 ? ulong.MaxValue : 0;

    /// <summary>Lets go on what has not to wait any more, in the order in which it came, and drops what has waited too long.</summary>
    public void Tick(Worker w)
    {
        ulong now = w.Storm.Now;
        int kept = 0;
        _ticks = true;
        for (int i = 0; i < Count; i++)
        {
            Held held = _held[i];
            bool isKnown = !w.Connections.Find(in held.Key).IsNone;
            if (!isKnown && now < held.Deadline)
            {
                _held[kept++] = held;
                continue;
            }
            w.Counters(held.Port)->Held--;
            if (isKnown)
            {
                RouteStage.Resume(w, held.Port, held.Mbuf);
            }
            else
            {
                w.Drop(held.Port, held.Mbuf, DropReason.NatFragment);
            }
        }
        _ticks = false;
        Count = kept;
        Next = kept == 0 ? ulong.MaxValue : now + Interval;
    }

    /// <summary>The worker ends.</summary>
    public void GiveUp(Worker w)
    {
        for (int i = 0; i < Count; i++)
        {
            w.Counters(_held[i].Port)->Held--;
            w.Drop(_held[i].Port, _held[i].Mbuf, DropReason.NatFragment);
        }
        Count = 0;
        Next = ulong.MaxValue;
    }
}
