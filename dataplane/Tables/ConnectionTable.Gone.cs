namespace Dataplane.Tables;

/// <summary>
/// What is left of a service's connection that is gone. Its backend may still send, and what it sends must not reach the client under the
/// backend's own address. Nothing is kept for that: the slot of the entry for packets that come back is free, and remembers its key until
/// another entry takes it: as a rule not soon, for there are four slots for each connection that fits. Reading it costs nothing either, for a
/// look-up that finds no entry has been there.
/// </summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>Whether packets with a key came from the backend of a service's connection that is gone.</summary>
    /// <param name="key">Of a packet of no connection.</param>
    /// <param name="since">Seconds at which it went.</param>
    public bool IsGone(in ConnectionKey key, out uint since) => TryFindGone(in key, out _, out _, out since);

    /// <summary>A packet with the key begins something else.</summary>
    public void Forget(in ConnectionKey key)
    {
        if (TryFindGone(in key, out uint index, out ulong control, out _))
        {
            // Unless somebody has taken the slot: then it is done.
            ref readonly ConnectionSlots slots = ref Slots(key.IsIPv6);
            if (CompareExchange(ref slots.At(index)->Control, ConnectionControl.Free(control), control) == control)
            {
                LowerReach(in slots, index - ConnectionControl.Distance(control), index);
            }
        }
    }

    private bool TryFindGone(in ConnectionKey key, out uint index, out ulong control, out uint since)
    {
        ref readonly ConnectionSlots slots = ref Slots(key.IsIPv6);
        uint home = slots.Home(Hash(in key));
        int reach = ConnectionWay.Reach(Volatile.Read(ref slots.At(home)->Way));
        for (index = home; index <= home + (uint)reach; index++)
        {
            ConnectionHead* head = slots.At(index);
            control = Volatile.Read(ref head->Control);
            if (!ConnectionControl.IsGone(control) || !slots.Matches(head, in key))
            {
                continue;
            }
            since = head->LastSeen;
            Volatile.ReadBarrier();
            if (Volatile.Read(ref head->Control) == control)
            {
                return true;
            }
        }
        (index, control, since) = (0, 0, 0);
        return false;
    }
}
