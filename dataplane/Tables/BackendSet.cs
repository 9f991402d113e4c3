using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>A backend of a set.</summary>
/// <param name="Backend">Index of the <see cref="Memory.BackendRecord"/>.</param>
/// <param name="Weight">Its share of new connections: its weight divided by the sum of all. With 0 it gets none.</param>
/// <param name="Identity">
/// Says the same of the same backend on every node and in every process (a hash of address and port), so that Maglev tables are alike.
/// </param>
public readonly record struct BackendMember(uint Backend, ushort Weight, ulong Identity);

/// <summary>
/// The backends among which the connections to a frontend are distributed, in an arena of the segment. A set never changes: a change
/// makes another one, and the frontend's record leads to that with the generation.
/// <para>
/// Layout: this header, then a <see cref="Slot"/> per backend in the order of the cumulated weights. The Maglev table, if the service
/// has one, lies elsewhere: its last entry is kept here, and so it takes 128 KiB and not a little more. Choosing by weight is a binary
/// search, of four steps for ten backends; by Maglev one access to that table.
/// </para>
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct BackendSet
{
    /// <summary>Sets begin at multiples of a cache line.</summary>
    public const int Unit = 64;

    /// <summary>Bytes of a Maglev table without its last entry.</summary>
    internal const int TableBytes = TableEntries * sizeof(ushort);

    private const int TableEntries = Maglev.Size - 1;

    /// <summary>What the entries of a Maglev table can name.</summary>
    public const int MemberLimit = ushort.MaxValue;

    /// <summary>A backend, and where its share of the range from 0 to the total weight ends.</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Slot
    {
        public uint Backend;
        public uint End;
    }

    /// <summary>Backends, at least 1 in a set that a frontend leads to.</summary>
    public uint Count;
    /// <summary>Sum of the weights, at least 1.</summary>
    public uint TotalWeight;
    /// <summary>Where all entries of the Maglev table but the last one are, in units from the beginning of the arena; 0 for none.</summary>
    public uint Table;
    public ushort LastEntry;
    public ushort Reserved;

    /// <summary>The set at a number of units from the beginning of the arena.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static BackendSet* At(byte* arena, uint unit) => (BackendSet*)(arena + ((nuint)unit * Unit));

    /// <summary>The backend of a new connection.</summary>
    /// <param name="arena">Memory of the sets.</param>
    /// <param name="unit">The set of a frontend that has one.</param>
    /// <param name="flowHash">Of the connection, or of its client's address; all 32 bits as good as random.</param>
    public static uint Choose(byte* arena, uint unit, uint flowHash)
    {
        BackendSet* set = At(arena, unit);
        Slot* slots = Slots(set);
        if (set->Table != 0)
        {
            uint entry = Scale(flowHash, Maglev.Size);
            return slots[entry < TableEntries ? ((ushort*)At(arena, set->Table))[entry] : set->LastEntry].Backend;
        }
        uint at = Scale(flowHash, set->TotalWeight);
        // Of the slots from first, the wanted one is within count.
        uint first = 0;
        for (uint count = set->Count; count > 1;)
        {
            uint half = count / 2;
            if (slots[first + half - 1].End <= at)
            {
                first += half;
                count -= half;
            }
            else
            {
                count = half;
            }
        }
        return slots[first].Backend;
    }

    /// <summary>The backends of a set with their weights.</summary>
    public static IEnumerable<(uint Backend, uint Weight)> List(BackendSet* set)
    {
        var list = new List<(uint, uint)>((int)set->Count);
        uint begin = 0;
        for (uint i = 0; i < set->Count; i++)
        {
            Slot slot = Slots(set)[i];
            list.Add((slot.Backend, slot.End - begin));
            begin = slot.End;
        }
        return list;
    }

    /// <summary>Bytes of a set without its Maglev table.</summary>
    internal static int SizeOf(int members) => sizeof(BackendSet) + (members * sizeof(Slot));

    /// <summary>Bytes of this set without its Maglev table, as far as its header can be trusted.</summary>
    internal readonly int Length => SizeOf((int)Math.Min(Count, MemberLimit));

    internal static Slot* Slots(BackendSet* set) => (Slot*)(set + 1);

    /// <summary>Writes a set to where there is room for it.</summary>
    /// <param name="set">For <see cref="SizeOf"/> bytes.</param>
    /// <param name="members">At least one of them with a weight.</param>
    /// <param name="table">Units from the beginning of the arena to <see cref="TableBytes"/> for a Maglev table; 0 for none.</param>
    /// <param name="entries">The same place.</param>
    internal static void Write(BackendSet* set, ReadOnlySpan<BackendMember> members, uint table, ushort* entries)
    {
        set->Count = (uint)members.Length;
        set->Table = table;
        set->LastEntry = 0;
        set->Reserved = 0;
        uint end = 0;
        for (int i = 0; i < members.Length; i++)
        {
            end += members[i].Weight;
            Slots(set)[i] = new Slot { Backend = members[i].Backend, End = end };
        }
        set->TotalWeight = end;
        if (table != 0)
        {
            var filled = new ushort[Maglev.Size];
            Maglev.Fill(members, filled);
            filled.AsSpan(0, TableEntries).CopyTo(new Span<ushort>(entries, TableEntries));
            set->LastEntry = filled[TableEntries];
        }
    }

    /// <summary>From a hash to a number below a bound, without a division.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Scale(uint hash, uint bound) => (uint)(((ulong)hash * bound) >> 32);
}
