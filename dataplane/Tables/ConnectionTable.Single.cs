using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>Entries that are no connections: the affinity of clients, fragments.</summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>The backend that a client has, 0 when it has none. Begins its time anew.</summary>
    /// <param name="key">See <see cref="ConnectionKey.OfAffinity"/>.</param>
    /// <param name="seconds">How long a client keeps its backend: <see cref="FrontendRecord.AffinitySeconds"/>.</param>
    /// <param name="now">Seconds.</param>
    public uint FindAffinity(in ConnectionKey key, uint seconds, uint now)
    {
        if (!TryFind(in key, Hash(in key), out ConnectionHandle handle, out ConnectionEntry entry) || Idle(entry.LastSeen, now) >= seconds)
        {
            return 0;
        }
        if (entry.LastSeen != now)
        {
            ConnectionHead* head = Slots(key.IsIPv6).At(handle.Index);
            head->LastSeen = now;
            // A client that comes back in a later second is one.
            ulong control = Volatile.Read(ref head->Control);
            if (handle.Matches(control) && ConnectionControl.Has(control, ConnectionFlags.HalfOpen))
            {
                ulong kept = ConnectionControl.With(control, ConnectionState.None, ConnectionControl.Flags(control) & ~ConnectionFlags.HalfOpen);
                CompareExchange(ref head->Control, kept, control);
            }
        }
        return entry.Backend;
    }

    /// <summary>Gives a client a backend. False when there is no room: then its next connection may get another one.</summary>
    /// <param name="key">See <see cref="ConnectionKey.OfAffinity"/>.</param>
    /// <param name="frontend">Index of the frontend that says how long.</param>
    /// <param name="backend">Index of the backend.</param>
    /// <param name="now">Seconds.</param>
    public bool PutAffinity(in ConnectionKey key, uint frontend, uint backend, uint now)
    {
        ulong hash = Hash(in key);
        if (TryFind(in key, hash, out ConnectionHandle handle, out ConnectionEntry entry))
        {
            if (entry.Backend == backend && entry.Frontend == frontend)
            {
                Slots(key.IsIPv6).At(handle.Index)->LastSeen = now;
                return true;
            }
            Remove(handle, now);
        }
        return TryInsertOne(in key, key.Reversed, hash, new ConnectionOwner { Frontend = frontend, Backend = backend }, now);
    }

    /// <summary>Notes the ports of a datagram's first fragment, for those that come later. False when there is no room.</summary>
    public bool PutFragment(in PacketFlow first, ushort vrf, uint now)
    {
        ConnectionKey key = ConnectionKey.OfFragment(in first, vrf);
        ulong hash = Hash(in key);
        if (TryFind(in key, hash, out ConnectionHandle handle, out ConnectionEntry entry))
        {
            if (entry.NewSourcePort == first.SourcePort && entry.NewDestinationPort == first.DestinationPort && Idle(entry.LastSeen, now) < ConnectionTimes.Fragment)
            {
                return true;
            }
            Remove(handle, now); // a datagram of the same number before
        }
        var ports = new ConnectionKey(vrf, first.Protocol, first.IsIPv6, first.Destination, first.Source, first.DestinationPort, first.SourcePort);
        return TryInsertOne(in key, in ports, hash, default, now);
    }

    /// <summary>The flow of a later fragment: sets its ports. False when its first one was not seen.</summary>
    public bool TryFindFragment(ref PacketFlow later, ushort vrf, uint now)
    {
        ConnectionKey key = ConnectionKey.OfFragment(in later, vrf);
        if (!TryFind(in key, Hash(in key), out _, out ConnectionEntry entry) || Idle(entry.LastSeen, now) >= ConnectionTimes.Fragment)
        {
            return false;
        }
        later.SourcePort = entry.NewSourcePort;
        later.DestinationPort = entry.NewDestinationPort;
        return true;
    }

    /// <summary>Makes a single entry. It makes room for others until its owner says otherwise.</summary>
    private bool TryInsertOne(in ConnectionKey key, in ConnectionKey other, ulong hash, in ConnectionOwner owner, uint now)
    {
        ref readonly ConnectionSlots slots = ref Slots(key.IsIPv6);
        uint home = slots.Home(hash);
        if (!TryMakeRoom(in slots, now) || !TryTake(in slots, home, None, 0, now, out Taken taken))
        {
            return false;
        }
        Fill(in slots, taken.Index, in key, in other, taken.Index, in owner, Deltas.Of(in key, in other), now);
        if (!Propose(in slots, ref taken, ConnectionState.None, ConnectionFlags.HalfOpen, in key, home) || !TryPublish(in slots, ref taken))
        {
            return false;
        }
        RoomOf(in slots).HalfOpen.Push(taken.Index, taken.Control, now);
        return true;
    }
}
