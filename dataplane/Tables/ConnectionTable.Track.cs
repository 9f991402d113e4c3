using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What happens to an entry between its making and its end.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>
    /// Tells a connection about a packet: the time, and what the packet does to its state. For every packet whose entry is not
    /// <see cref="ConnectionFlags.Hot"/> or that is not quiet (<see cref="ConnectionTracking.IsQuiet"/>); harmless for others.
    /// </summary>
    /// <param name="handle">The entry that the packet was found by.</param>
    /// <param name="signal">See <see cref="ConnectionTracking"/>.</param>
    /// <param name="now">Seconds.</param>
    public TouchResult Touch(ConnectionHandle handle, byte signal, uint now)
    {
        ref readonly ConnectionSlots slots = ref Slots(handle.IsIPv6);
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            if (!TryGetOriginal(handle, out uint index, out ulong control))
            {
                return TouchResult.Gone;
            }
            ConnectionHead* own = slots.At(handle.Index), original = slots.At(index);
            if (own->LastSeen != now)
            {
                own->LastSeen = now;
            }
            bool isReply = own != original;
            ConnectionState state = ConnectionControl.State(control);
            ConnectionFlags flags = ConnectionControl.Flags(control);
            (ConnectionState nextState, ConnectionFlags nextFlags) =
                ConnectionTracking.Next(ProtocolOf(original->Flow), state, flags, signal, isReply, out bool isNew);
            if (isNew)
            {
                TryRemove(in slots, index, control, now);
                return TouchResult.Restart;
            }
            ulong next = ConnectionControl.With(control, nextState, nextFlags);
            bool isProof = (flags & ~nextFlags & ConnectionFlags.HalfOpen) != 0;
            int over = (ConnectionTracking.IsOver(nextState, nextFlags) ? 1 : 0) - (ConnectionTracking.IsOver(state, flags) ? 1 : 0);
            if (next != control)
            {
                uint reply = original->Partner;
                if (CompareExchange(ref original->Control, next, control) != control)
                {
                    continue;
                }
                if (isProof)
                {
                    _mine->HalfOpen--;
                }
                _mine->Over += over;
                if (over > 0)
                {
                    RoomOf(in slots).Over.Push(index, next, now);
                }
                SetReplyHot(in slots, reply, index, ConnectionTracking.IsReplyHot(nextState, nextFlags));
            }
            else if (isReply && ConnectionTracking.IsReplyHot(nextState, nextFlags) && !ConnectionControl.Has(Volatile.Read(ref own->Control), ConnectionFlags.Hot))
            {
                SetReplyHot(in slots, handle.Index, index, true);
            }
            return isProof ? TouchResult.Proven : TouchResult.Known;
        }
        // Others change it all the time; what this packet would have changed, another one will.
        return TouchResult.Known;
    }

    /// <summary>Tells an entry its route. Nothing happens when it is gone.</summary>
    /// <param name="handle">The entry of the direction that the route is for.</param>
    /// <param name="route">Index of the next hop, 24 bits; 0 for a route that is to be looked up for each packet.</param>
    /// <param name="verdictGeneration">Lower 32 bits of the generation in which it was found.</param>
    public void Refresh(ConnectionHandle handle, uint route, uint verdictGeneration)
    {
        ref readonly ConnectionSlots slots = ref Slots(handle.IsIPv6);
        if (handle.IsNone || handle.Index >= slots.Count)
        {
            return;
        }
        ConnectionHead* head = slots.At(handle.Index);
        ulong verdict = route == 0 ? 0 : ConnectionWay.Make(route, verdictGeneration);
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong was = Volatile.Read(ref head->Way);
            if (!handle.Matches(Volatile.Read(ref head->Control)))
            {
                return;
            }
            if (CompareExchange(ref head->Way, verdict | (was & ConnectionWay.PlaceMask), was) != was)
            {
                continue;
            }
            // A slot that got another life in between has another's route now: none is better.
            if (!handle.Matches(Volatile.Read(ref head->Control)))
            {
                And(ref head->Way, ConnectionWay.PlaceMask);
            }
            return;
        }
    }

    /// <summary>Removes a connection (from either entry), or a single entry. False when it is gone.</summary>
    /// <param name="handle">Either entry.</param>
    /// <param name="now">Seconds.</param>
    public bool Remove(ConnectionHandle handle, uint now)
    {
        ref readonly ConnectionSlots slots = ref Slots(handle.IsIPv6);
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            if (!TryGetOriginal(handle, out uint index, out ulong control))
            {
                return false;
            }
            if (TryRemove(in slots, index, control, now))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Removes the connection of a key if it is over: closed on both sides, or reset. False when it is not.</summary>
    public bool RemoveOver(in ConnectionKey key, uint now)
    {
        ConnectionHandle handle = Find(in key);
        ref readonly ConnectionSlots slots = ref Slots(key.IsIPv6);
        return TryGetOriginal(handle, out uint index, out ulong control) && ConnectionControl.IsOver(control) && TryRemove(in slots, index, control, now);
    }

    /// <summary>What is in the table.</summary>
    public ConnectionStatistics Statistics()
    {
        var sum = default(ConnectionCounters);
        for (int i = 0; i < _writers; i++)
        {
            ref ConnectionCounters one = ref _all[i];
            sum.Slots4 += Volatile.Read(ref one.Slots4);
            sum.Slots6 += Volatile.Read(ref one.Slots6);
            sum.Connections += Volatile.Read(ref one.Connections);
            sum.HalfOpen += Volatile.Read(ref one.HalfOpen);
            sum.Over += Volatile.Read(ref one.Over);
            sum.Inserted += Volatile.Read(ref one.Inserted);
            sum.Evicted += Volatile.Read(ref one.Evicted);
            sum.Expired += Volatile.Read(ref one.Expired);
            sum.Refused += Volatile.Read(ref one.Refused);
            sum.Swept += Volatile.Read(ref one.Swept);
        }
        return new ConnectionStatistics(_limit4 / 2, _limit6 / 2, sum.Slots4, sum.Slots6, sum.Connections, sum.HalfOpen, sum.Over,
            sum.Inserted, sum.Evicted, sum.Expired, sum.Refused, sum.Swept);
    }

    /// <summary>The protocol whose states an entry has; 0 for one without.</summary>
    private static byte ProtocolOf(ulong flow) => (ConnectionKind)(byte)(flow >> 32) == ConnectionKind.Connection ? (byte)(flow >> 40) : (byte)0;

    /// <summary>
    /// Removes an entry of the original direction, or a single one, if it is still as it was; and then the one of the other direction.
    /// </summary>
    private bool TryRemove(in ConnectionSlots slots, uint index, ulong control, uint now)
    {
        ConnectionHead* head = slots.At(index);
        uint reply = head->Partner;
        bool isConnection = (ConnectionKind)(byte)(head->Flow >> 32) == ConnectionKind.Connection;
        if (!TryFree(in slots, index, control))
        {
            return false;
        }
        if (isConnection)
        {
            _mine->Connections--;
            _mine->HalfOpen -= ConnectionControl.Has(control, ConnectionFlags.HalfOpen) ? 1 : 0;
            _mine->Over -= ConnectionControl.IsOver(control) ? 1 : 0;
        }
        if (reply != index)
        {
            FreeReply(in slots, reply, index, now);
        }
        return true;
    }

    /// <summary>Frees the entry for packets that come back, of a connection whose other entry is gone.</summary>
    private void FreeReply(in ConnectionSlots slots, uint reply, uint original, uint now)
    {
        if (reply >= slots.Count)
        {
            return;
        }
        ConnectionHead* head = slots.At(reply);
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong control = Volatile.Read(ref head->Control);
            if (ConnectionControl.Phase(control) != ConnectionPhase.Valid || !ConnectionControl.Has(control, ConnectionFlags.Reply) || head->Partner != original)
            {
                return;
            }
            head->LastSeen = now; // when the connection went: see IsGone
            bool isOfService = slots.Owner(head).Frontend != 0 && ConnectionControl.Has(control, ConnectionFlags.RewritesSource);
            if (TryFree(in slots, reply, control, isOfService))
            {
                return;
            }
        }
    }

    private void SetReplyHot(in ConnectionSlots slots, uint reply, uint original, bool isHot)
    {
        if (reply >= slots.Count || reply == original)
        {
            return;
        }
        ConnectionHead* head = slots.At(reply);
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong control = Volatile.Read(ref head->Control);
            ConnectionFlags flags = ConnectionControl.Flags(control);
            ConnectionFlags next = isHot ? flags | ConnectionFlags.Hot : flags & ~ConnectionFlags.Hot;
            if (next == flags || ConnectionControl.Phase(control) != ConnectionPhase.Valid || (flags & ConnectionFlags.Reply) == 0 || head->Partner != original)
            {
                return;
            }
            if (CompareExchange(ref head->Control, ConnectionControl.With(control, ConnectionControl.State(control), next), control) == control)
            {
                return;
            }
        }
    }
}
