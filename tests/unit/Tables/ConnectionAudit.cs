using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>Looks at every slot of a table that nobody changes meanwhile.</summary>
internal static unsafe class ConnectionAudit
{
    /// <summary>As <see cref="Problem(ConnectionTable, ConnectionSlot4*, ConnectionSlot6*)"/>, of the table of a segment.</summary>
    public static string? Problem(Segment segment) => Problem(
        segment.Connections, (ConnectionSlot4*)Section(segment, SectionId.Connections4), (ConnectionSlot6*)Section(segment, SectionId.Connections6));

    private static byte* Section(Segment segment, SectionId id) =>
        (byte*)System.Runtime.CompilerServices.Unsafe.AsPointer(ref segment.Header) + segment.Header.Sections[(int)id].Offset;

    /// <summary>
    /// What is wrong with a table, null for nothing: a slot that is neither free nor an entry, a key that two entries have, an entry
    /// that is not found by its key, or whose address is not marked, a direction without the other one, counters that say something else.
    /// </summary>
    public static string? Problem(ConnectionTable table, ConnectionSlot4* slots4, ConnectionSlot6* slots6)
    {
        var keys = new HashSet<ConnectionKey>();
        long connections = 0, halfOpen = 0, over = 0;
        long[] taken = [0, 0];
        foreach (bool isIPv6 in (bool[])[false, true])
        {
            uint count = table.SlotCount(isIPv6);
            var slots = new ConnectionSlots(isIPv6 ? (byte*)slots6 : (byte*)slots4, count - ConnectionTable.Window + 1, isIPv6);
            for (uint i = 0; i < count; i++)
            {
                ConnectionHead* head = slots.At(i);
                ConnectionPhase phase = ConnectionControl.Phase(head->Control);
                if ((head->Way & ConnectionWay.Lowering) != 0)
                {
                    return $"slot {i} is having its reach lowered";
                }
                if (ConnectionControl.MeansKey(head->Control) && slots.Key(head) is { Kind: ConnectionKind.Connection } marked && !table.Marks.MayHave(in marked))
                {
                    return $"{marked} has no mark";
                }
                if (phase == ConnectionPhase.Free)
                {
                    continue;
                }
                if (phase != ConnectionPhase.Valid)
                {
                    return $"slot {i} is in the phase {phase}";
                }
                taken[isIPv6 ? 1 : 0]++;
                ConnectionKey key = slots.Key(head);
                if (!keys.Add(key))
                {
                    return $"{key} has two entries";
                }
                ConnectionHandle found = table.Find(key);
                if (found.Index != i)
                {
                    return $"{key} is in slot {i} and found at {found.Index}";
                }
                bool isReply = ConnectionControl.Has(head->Control, ConnectionFlags.Reply);
                if (head->Partner != i)
                {
                    ConnectionHead* partner = slots.At(head->Partner);
                    if (ConnectionControl.Phase(partner->Control) != ConnectionPhase.Valid || partner->Partner != i
                        || ConnectionControl.Has(partner->Control, ConnectionFlags.Reply) == isReply)
                    {
                        return $"{key} has no other direction";
                    }
                    table.TryRead(found, out ConnectionEntry entry);
                    table.TryRead(table.Find(slots.Key(partner)), out ConnectionEntry other);
                    if (entry.OtherKey != other.Key || other.OtherKey != entry.Key || entry.Backend != other.Backend || entry.Frontend != other.Frontend)
                    {
                        return $"{key} and {other.Key} do not match";
                    }
                }
                if (!isReply && key.Kind == ConnectionKind.Connection)
                {
                    connections++;
                    halfOpen += ConnectionControl.Has(head->Control, ConnectionFlags.HalfOpen) ? 1 : 0;
                    over += ConnectionControl.IsOver(head->Control) ? 1 : 0;
                }
            }
        }
        ConnectionStatistics statistics = table.Statistics();
        return statistics.Connections == connections && statistics.HalfOpen == halfOpen && statistics.Over == over && statistics.Slots4 == taken[0] && statistics.Slots6 == taken[1]
            ? null
            : $"{connections} connections, {halfOpen} half-open, {over} over, {taken[0]} and {taken[1]} slots, but {statistics}";
    }
}
