using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What happens when as many slots are in use as may be: see <see cref="ConnectionTable"/>.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Slots that may be taken before all are counted again.</summary>
    private const int MaxCredit = 256;

    private Room _room4, _room6;

    /// <summary>What a worker knows of how full a family's slots are, and of what makes room there.</summary>
    private struct Room
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
        /// <summary>What it has begun.</summary>
        public RoomQueue HalfOpen;
        /// <summary>What it saw end.</summary>
        public RoomQueue Over;
        /// <summary>What was found in looking around.</summary>
        public RoomList Found;
    }

    private ref Room RoomOf(in ConnectionSlots slots) => ref slots.IsIPv6 ? ref _room6 : ref _room4;

    /// <summary>Sees to it that fewer slots are in use than may be. False when nothing can be removed for that.</summary>
    private bool TryMakeRoom(in ConnectionSlots slots, uint now)
    {
        ref Room room = ref RoomOf(in slots);
        if (room.Credit >= 2)
        {
            room.Credit -= 2;
            return true;
        }
        if (room.Turns > 0 && TryEvictTwo(in slots, ref room, now))
        {
            room.Turns--;
            return true;
        }
        long limit = slots.IsIPv6 ? _limit6 : _limit4, left = limit - SlotsInUse(slots.IsIPv6);
        if (left < 2)
        {
            room.Turns = (int)Math.Min(MaxCredit / 2, limit / MaxCredit);
            room.Share = ShareOfRoom(limit / 2);
            return TryEvictTwo(in slots, ref room, now);
        }
        room.Turns = 0;
        // Half of what is left is shared among all, so that together they cannot take too many.
        room.Credit = (int)Math.Min(MaxCredit, Math.Max(0, left - 2) / (2 * _writers));
        return true;
    }

    /// <summary>Frees two slots, as many as a connection takes: of another one, or of two single entries.</summary>
    private bool TryEvictTwo(in ConnectionSlots slots, ref Room room, uint now)
    {
        ref long mine = ref slots.IsIPv6 ? ref _mine->Slots6 : ref _mine->Slots4;
        long before = mine;
        while (before - mine < 2)
        {
            if (!TryEvict(in slots, ref room, now))
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

    /// <summary>See <see cref="Room.Share"/>.</summary>
    private long ShareOfRoom(long capacity)
    {
        long room = CountRoom(out int writers);
        return Math.Min(room, capacity) / (2 * Math.Max(1, writers));
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
