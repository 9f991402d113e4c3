using System.Runtime.CompilerServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>
/// Look-ups as the packet loops have them: one loop that hashes a burst and asks for the lines (<see cref="Home4"/>), one that looks.
/// </summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>The slot in which the search for a key begins; <see cref="Prefetch(void*)"/> it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ConnectionSlot4* Home4(in ConnectionKey4 key) =>
        (ConnectionSlot4*)(_base4 + ((((Hash4(key.Flow, key.Addresses) >> 32) * _homes4) >> 32) * ConnectionSlot4.SizeInBytes));

    /// <inheritdoc cref="Home4"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ConnectionSlot6* Home6(in ConnectionKey6 key) =>
        (ConnectionSlot6*)(_base6 + ((((Hash6(key.Flow, key.Source, key.Destination) >> 32) * _homes6) >> 32) * ConnectionSlot6.SizeInBytes));

    /// <summary>
    /// The verdict on a quiet packet (<see cref="ConnectionTracking.IsQuiet"/>) of a connection whose state such a packet does not change, with
    /// a route of the given generation; notes that it was seen. False when anything of that is not so, or the entry is not in its home:
    /// try <see cref="TryHotBeyond4"/>, then go the slow way.
    /// </summary>
    /// <param name="home">See <see cref="Home4"/>.</param>
    /// <param name="key">Of the packet.</param>
    /// <param name="generation">Lower 32 bits of the generation of verdicts.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="verdict">What is to be done. Overwritten in any case.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryHot4(ConnectionSlot4* home, in ConnectionKey4 key, uint generation, uint now, ref ConnectionVerdict4 verdict)
    {
        ulong control = Volatile.Read(ref home->Control);
        ulong way = Volatile.Read(ref home->Way);
        // One branch for all that must be so.
        if (((home->Flow ^ key.Flow) | (home->Addresses ^ key.Addresses) | ((control & HotMask) ^ HotValid) | (ConnectionWay.Generation(way) ^ generation)) != 0)
        {
            return false;
        }
        verdict.Rewrite = home->Rewrite;
        verdict.Owner = home->Owner;
        verdict.Route = ConnectionWay.Route(way);
        verdict.Flags = ConnectionControl.Flags(control);
        if (home->LastSeen != now)
        {
            home->LastSeen = now;
        }
        Volatile.ReadBarrier();
        return (uint)Volatile.Read(ref home->Control) == (uint)control;
    }

    /// <summary>As <see cref="TryHot4"/>, for IPv6.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryHot6(ConnectionSlot6* home, in ConnectionKey6 key, uint generation, uint now, ref ConnectionVerdict6 verdict)
    {
        ulong control = Volatile.Read(ref home->Control);
        ulong way = Volatile.Read(ref home->Way);
        if (((home->Flow ^ key.Flow) | ((control & HotMask) ^ HotValid) | (ConnectionWay.Generation(way) ^ generation)
            | (home->Source.High ^ key.Source.High) | (home->Source.Low ^ key.Source.Low)
            | (home->Destination.High ^ key.Destination.High) | (home->Destination.Low ^ key.Destination.Low)) != 0)
        {
            return false;
        }
        verdict.Rewrite = home->Rewrite;
        verdict.Owner = home->Owner;
        verdict.Route = ConnectionWay.Route(way);
        verdict.Flags = ConnectionControl.Flags(control);
        if (home->LastSeen != now)
        {
            home->LastSeen = now;
        }
        Volatile.ReadBarrier();
        return (uint)Volatile.Read(ref home->Control) == (uint)control;
    }

    /// <summary>Looks behind the home, as far as entries reach.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool TryHotBeyond4(ConnectionSlot4* home, in ConnectionKey4 key, uint generation, uint now, ref ConnectionVerdict4 verdict)
    {
        int reach = ConnectionWay.Reach(Volatile.Read(ref home->Way));
        for (int i = 1; i <= reach; i++)
        {
            if (TryHot4(home + i, in key, generation, now, ref verdict))
            {
                return true;
            }
        }
        return false;
    }

    /// <inheritdoc cref="TryHotBeyond4"/>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static bool TryHotBeyond6(ConnectionSlot6* home, in ConnectionKey6 key, uint generation, uint now, ref ConnectionVerdict6 verdict)
    {
        int reach = ConnectionWay.Reach(Volatile.Read(ref home->Way));
        for (int i = 1; i <= reach; i++)
        {
            if (TryHot6(home + i, in key, generation, now, ref verdict))
            {
                return true;
            }
        }
        return false;
    }

    private const ulong HotMask = ((ulong)ConnectionFlags.Hot << 32) | ConnectionControl.PhaseMask;
    private const ulong HotValid = ((ulong)ConnectionFlags.Hot << 32) | (ulong)ConnectionPhase.Valid;
}
