using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What the control plane sees of the table, and what the engine does with it before its workers run.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>
    /// The connections in a range of slots, each by its original direction, last seen in either. A listing is not a snapshot: it may miss
    /// what changes meanwhile, but every entry was one.
    /// </summary>
    public void List(bool isIPv6, uint first, uint count, ICollection<ConnectionEntry> into)
    {
        ref readonly ConnectionSlots slots = ref Slots(isIPv6);
        uint end = (uint)Math.Min(slots.Count, (ulong)first + count);
        for (uint index = first; index < end; index++)
        {
            uint partner = slots.At(index)->Partner;
            if (TryCopy(in slots, index, out ConnectionEntry entry, out _) && !entry.IsReply && entry.Key.Kind == ConnectionKind.Connection)
            {
                if (partner < slots.Count && slots.At(partner)->Partner == index)
                {
                    uint replySeen = slots.At(partner)->LastSeen;
                    entry.LastSeen = (int)(replySeen - entry.LastSeen) > 0 ? replySeen : entry.LastSeen;
                }
                into.Add(entry);
            }
        }
    }

    /// <summary>All connections of both families.</summary>
    public List<ConnectionEntry> List()
    {
        var all = new List<ConnectionEntry>();
        List(false, 0, _slots4.Count, all);
        List(true, 0, _slots6.Count, all);
        return all;
    }

    /// <summary>
    /// Frees what an engine left half-made or half-removed that died, and counts anew. Connections that were complete stay. Only while
    /// nobody changes the table. Gives how many slots were freed.
    /// </summary>
    public int Scrub()
    {
        for (int i = 0; i < _writers; i++)
        {
            ref ConnectionCounters one = ref _all[i];
            (one.Slots4, one.Slots6, one.Connections, one.HalfOpen, one.Over, one.Claimed) = (0, 0, 0, 0, 0, 0);
        }
        return Scrub(in _slots4) + Scrub(in _slots6);
    }

    private int Scrub(in ConnectionSlots slots)
    {
        int freed = 0;
        for (uint index = 0; index < slots.Count; index++)
        {
            if (index + ScrubAhead < slots.Count)
            {
                uint partner = slots.At(index + ScrubAhead)->Partner;
                Prefetch(slots.At(partner < slots.Count ? partner : index));
            }
            ConnectionHead* head = slots.At(index);
            if ((head->Way & ConnectionWay.Lowering) != 0)
            {
                head->Way &= ~ConnectionWay.Lowering;
            }
            ulong control = head->Control;
            if (ConnectionControl.Phase(control) == ConnectionPhase.Free)
            {
                continue;
            }
            if (ConnectionControl.Phase(control) != ConnectionPhase.Valid || !IsWhole(in slots, index))
            {
                head->Control = ConnectionControl.Free(control);
                freed++;
                continue;
            }
            CountSlots(in slots, 1);
            if (!ConnectionControl.Has(control, ConnectionFlags.Reply) && (ConnectionKind)(byte)(head->Flow >> 32) == ConnectionKind.Connection)
            {
                _mine->Connections++;
                _mine->HalfOpen += ConnectionControl.Has(control, ConnectionFlags.HalfOpen) ? 1 : 0;
                _mine->Over += ConnectionControl.IsOver(control) ? 1 : 0;
            }
        }
        return freed;
    }

    /// <summary>How many slots ahead the partner's line is asked for.</summary>
    private const uint ScrubAhead = 16;

    /// <summary>Whether a valid entry is a single one, or has a valid partner of the other direction that names it.</summary>
    private static bool IsWhole(in ConnectionSlots slots, uint index)
    {
        ConnectionHead* head = slots.At(index);
        if (head->Partner == index)
        {
            return true;
        }
        if (head->Partner >= slots.Count)
        {
            return false;
        }
        ConnectionHead* partner = slots.At(head->Partner);
        return ConnectionControl.Phase(partner->Control) == ConnectionPhase.Valid && partner->Partner == index
            && ConnectionControl.Has(partner->Control, ConnectionFlags.Reply) != ConnectionControl.Has(head->Control, ConnectionFlags.Reply);
    }
}
