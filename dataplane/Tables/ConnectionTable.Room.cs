using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What happens when as many slots are in use as may be: see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Slots that may be taken before all are counted again.</summary>
    private const int MaxCredit = 256;

    /// <summary>What a worker knows of a family's table being full.</summary>
    private struct Fullness
    {
        /// <summary>How many slots may be taken before all are counted again.</summary>
        public int Credit;
        /// <summary>So many connections take the place of others before all slots are counted again: they are in records that others write.</summary>
        public int Turns;
        /// <summary>
        /// Half of what this worker would have if all had as many of the entries that make room. Only when it has begun so many since does it remove what
        /// it has begun itself: else who begins few connections would remove them at once, for another one's flood.
        /// </summary>
        public long Share;
    }

    /// <summary>Sees to it that fewer slots are in use than may be. False when nothing can be removed for that.</summary>
    private bool TryMakeRoom(in ConnectionSlots slots, uint now)
    {
        ref Fullness full = ref slots.IsIPv6 ? ref _fullness6 : ref _fullness4;
        if (full.Credit >= 2)
        {
            full.Credit -= 2;
            return true;
        }
        if (full.Turns > 0 && TryEvictTwo(in slots, ref full, now))
        {
            full.Turns--;
            return true;
        }
        long used = !_isAlone ? SlotsInUse(slots.IsIPv6) : slots.IsIPv6 ? _others6 + _mine->Slots6 : _others4 + _mine->Slots4;
        long limit = slots.IsIPv6 ? _limit6 : _limit4, left = limit - used;
        if (left < 2)
        {
            full.Turns = (int)Math.Min(MaxCredit / 2, limit / MaxCredit);
            full.Share = ShareOfRoom(slots.IsIPv6);
            return TryEvictTwo(in slots, ref full, now);
        }
        full.Turns = 0;
        // Half of what is left is shared among all, so that together they cannot take too many.
        full.Credit = (int)Math.Min(MaxCredit, Math.Max(0, left - 2) / (2 * _writers));
        return true;
    }

    /// <summary>Frees two slots, as many as a connection takes: of another one, or of two single entries.</summary>
    private bool TryEvictTwo(in ConnectionSlots slots, ref Fullness full, uint now)
    {
        ref long mine = ref slots.IsIPv6 ? ref _mine->Slots6 : ref _mine->Slots4;
        long before = mine;
        while (before - mine < 2)
        {
            if (!TryEvict(in slots, full.Share, now))
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>Whether there are connections that make room.</summary>
    private bool HaveRoom() => CountRoom(out _) > 0;

    /// <summary>Connections that make room.</summary>
    /// <param name="writers">How many have ever begun any.</param>
    private long CountRoom(out int writers)
    {
        long n = 0;
        writers = 0;
        for (int i = 0; i < _writers; i++)
        {
            n += Volatile.Read(ref _all[i].HalfOpen) + Volatile.Read(ref _all[i].Over);
            writers += Volatile.Read(ref _all[i].Inserted) != 0 ? 1 : 0;
        }
        return n;
    }

    /// <summary>See <see cref="Fullness.Share"/>.</summary>
    private long ShareOfRoom(bool isIPv6)
    {
        long room = CountRoom(out int writers);
        return Math.Min(room, (isIPv6 ? _limit6 : _limit4) / 2) / (2 * Math.Max(1, writers));
    }

    private long SlotsInUse(bool isIPv6)
    {
        long n = 0;
        for (int i = 0; i < _writers; i++)
        {
            n += Volatile.Read(ref isIPv6 ? ref _all[i].Slots6 : ref _all[i].Slots4);
        }
        return n;
    }
}
