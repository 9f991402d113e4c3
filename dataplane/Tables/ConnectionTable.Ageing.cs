using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Tables;

/// <summary>What a pass over the table has to know.</summary>
internal unsafe struct ConnectionPass
{
    public Versioned<FrontendRecord>* Frontends;
    public uint FrontendCount;
    /// <summary>Generation in which frontends are read.</summary>
    public ulong Generation;
    /// <summary>Seconds.</summary>
    public uint Now;
    /// <summary>Connections of removed backends are removed.</summary>
    public bool Sweeps;
    public ConnectionSweep Sweep;
    /// <summary>Which homes have their reach looked at: one in <see cref="ConnectionTable.ReachTurns"/>.</summary>
    public uint ReachTurn;
}

/// <summary>What housekeeping does with the table, a slice at a time.</summary>
public sealed unsafe partial class ConnectionTable
{
    internal const uint ReachTurns = 8;

    /// <summary>An entry idle for so long is looked at whether its other direction is still there.</summary>
    private const uint OrphanSeconds = 5;

    /// <summary>Slots of a family, for <see cref="Age"/> and <see cref="List(bool, uint, uint, ICollection{ConnectionEntry})"/>.</summary>
    public uint SlotCount(bool isIPv6) => Slots(isIPv6).Count;

    /// <summary>Whether there is any entry of a family.</summary>
    internal bool IsEmpty(bool isIPv6) => SlotsInUse(isIPv6) == 0;

    /// <summary>Removes what is over from a range of slots.</summary>
    internal void Age(bool isIPv6, uint first, uint count, in ConnectionPass pass)
    {
        ref readonly ConnectionSlots slots = ref Slots(isIPv6);
        uint end = Math.Min(slots.Count, first + count);
        for (uint index = first; index < end; index++)
        {
            ConnectionHead* head = slots.At(index);
            ulong control = Volatile.Read(ref head->Control);
            if (ConnectionControl.Phase(control) == ConnectionPhase.Valid)
            {
                if (ConnectionControl.Has(control, ConnectionFlags.Reply))
                {
                    FreeOrphan(in slots, index, control, pass.Now);
                }
                else
                {
                    AgeEntry(in slots, index, control, in pass);
                }
            }
            if (ConnectionControl.MeansKey(control) && (ConnectionKind)(byte)(head->Flow >> 32) == ConnectionKind.Connection)
            {
                MarkAgain(in slots, head, control);
            }
            if (index % ReachTurns == pass.ReachTurn && index < slots.Homes)
            {
                LowerReach(in slots, index);
            }
        }
    }

    /// <summary>Marks the address of an entry in the present round. Should another one have taken the slot since, that has marked its own.</summary>
    private void MarkAgain(in ConnectionSlots slots, ConnectionHead* head, ulong control)
    {
        ConnectionKey key = slots.Key(head);
        // One that is gone was a service's, and has no flags but the direction's.
        Marks.Mark(in key, isSource: ConnectionControl.Has(control, ConnectionFlags.Reply) != ConnectionControl.Has(control, ConnectionFlags.ByClient));
    }

    private void AgeEntry(in ConnectionSlots slots, uint index, ulong control, in ConnectionPass pass)
    {
        ConnectionHead* head = slots.At(index);
        ConnectionKey key = slots.Key(head);
        ConnectionOwner owner = slots.Owner(head);
        uint partner = head->Partner, lastSeen = head->LastSeen;
        Volatile.ReadBarrier();
        if (Volatile.Read(ref head->Control) != control)
        {
            return; // another one, or one that has just had a packet
        }
        if (pass.Sweeps && pass.Sweep.IsGone(owner.Backend) && SweepEntry(in slots, index, control, in key, owner.Backend, in pass))
        {
            return;
        }
        uint seconds = SecondsOf(in key, control, owner.Frontend, in pass);
        bool isOver = Idle(lastSeen, pass.Now) >= seconds && (partner == index || partner >= slots.Count || Idle(slots.At(partner)->LastSeen, pass.Now) >= seconds);
        if (isOver)
        {
            if (TryRemove(in slots, index, control, pass.Now))
            {
                _mine->Expired++;
            }
        }
        else if (ConnectionControl.Has(control, ConnectionFlags.EndpointMapped))
        {
            ConnectionKey mapping = ConnectionKey.OfEndpoint(key.Vrf, key.Protocol, key.IsIPv6, key.Source, key.SourcePort);
            if (Locate(in slots, in mapping, slots.Home(Hash(in mapping)), out uint at, out _))
            {
                slots.At(at)->LastSeen = pass.Now;
            }
        }
    }

    private static uint SecondsOf(in ConnectionKey key, ulong control, uint frontend, in ConnectionPass pass)
    {
        FrontendRecord record = frontend < pass.FrontendCount ? Versioned<FrontendRecord>.Read(in pass.Frontends[frontend], pass.Generation) : default;
        if (key.Kind == ConnectionKind.Connection && !record.Began(in key))
        {
            record = default; // another one has its number
        }
        return key.Kind switch
        {
            ConnectionKind.Connection => ConnectionTimes.Of(key.Protocol, ConnectionControl.State(control), ConnectionControl.Flags(control), in record),
            // Of a frontend that is gone: at once.
            ConnectionKind.Affinity => record.AffinitySeconds,
            ConnectionKind.Fragment => ConnectionTimes.Fragment,
            _ => ConnectionTimes.Endpoint,
        };
    }

    /// <summary>What becomes of an entry whose backend is removed. True when it is gone.</summary>
    private bool SweepEntry(in ConnectionSlots slots, uint index, ulong control, in ConnectionKey key, uint backend, in ConnectionPass pass)
    {
        bool hasState = key.Kind == ConnectionKind.Connection && key.Protocol is Wire.ProtocolTcp or Wire.ProtocolSctp;
        if (!hasState)
        {
            bool isRemoved = TryRemove(in slots, index, control, pass.Now);
            _mine->Swept += isRemoved ? 1u : 0;
            return isRemoved;
        }
        if (pass.Sweep.IsReset(backend))
        {
            MarkReset(in slots, index, control);
        }
        return false;
    }

    private void MarkReset(in ConnectionSlots slots, uint index, ulong control)
    {
        ConnectionHead* head = slots.At(index);
        uint reply = head->Partner;
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong now = Volatile.Read(ref head->Control);
            if ((uint)now != (uint)control)
            {
                return;
            }
            ulong reset = ConnectionControl.With(now, ConnectionControl.State(now), (ConnectionControl.Flags(now) | ConnectionFlags.Reset) & ~ConnectionFlags.Hot);
            if (CompareExchange(ref head->Control, reset, now) == now)
            {
                SetReplyHot(in slots, reply, index, false);
                return;
            }
        }
    }

    /// <summary>Frees an entry for packets that come back whose other direction is gone: as a rule that is done by who removes that.</summary>
    private void FreeOrphan(in ConnectionSlots slots, uint index, ulong control, uint now)
    {
        ConnectionHead* head = slots.At(index);
        if (Idle(head->LastSeen, now) >= OrphanSeconds && !HasOriginal(in slots, index))
        {
            TryFree(in slots, index, control);
        }
    }

    /// <summary>Whether an entry for packets that come back has one for the original direction, be it only proposed.</summary>
    private static bool HasOriginal(in ConnectionSlots slots, uint reply)
    {
        uint partner = slots.At(reply)->Partner;
        if (partner >= slots.Count)
        {
            return false;
        }
        ConnectionHead* original = slots.At(partner);
        ulong control = Volatile.Read(ref original->Control);
        return ConnectionControl.HasKey(control) && !ConnectionControl.Has(control, ConnectionFlags.Reply) && original->Partner == reply;
    }

    private static uint Idle(uint lastSeen, uint now) => (uint)Math.Max(0, (int)(now - lastSeen));
}
