using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What <see cref="ConnectionTable.LookBeyond4"/> found.</summary>
public enum HotLook : byte
{
    /// <summary>The packet is of no connection.</summary>
    None,
    /// <summary>There is or was an entry, and this packet or this moment asks for a closer look at it.</summary>
    Closer,
    /// <summary>There is a verdict.</summary>
    Hot,
}

/// <summary>
/// Look-ups as the packet loops have them: one loop that hashes a burst and asks for the lines (<see cref="Home4(in ConnectionKey4)"/>), one that looks.
/// </summary>
public sealed unsafe partial class ConnectionTable
{
    /// <summary>The slot in which the search for a key begins; <see cref="Prefetch(void*)"/> it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ConnectionSlot4* Home4(in ConnectionKey4 key) => Home4(key.Flow, key.Addresses);

    /// <inheritdoc cref="Home4(in ConnectionKey4)"/>
    /// <param name="flow">See <see cref="ConnectionKey4.Flow"/>.</param>
    /// <param name="addresses">See <see cref="ConnectionKey4.Addresses"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ConnectionSlot4* Home4(ulong flow, ulong addresses) =>
        (ConnectionSlot4*)(_base4 + ((((Hash4(flow, addresses) >> 32) * _homes4) >> 32) * ConnectionSlot4.SizeInBytes));

    /// <inheritdoc cref="Home4(in ConnectionKey4)"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ConnectionSlot6* Home6(in ConnectionKey6 key) =>
        (ConnectionSlot6*)(_base6 + ((((Hash6(key.Flow, key.Source, key.Destination) >> 32) * _homes6) >> 32) * ConnectionSlot6.SizeInBytes));

    /// <summary>What the first 16 bytes of a slot must be for a verdict of a generation, as far as they decide.</summary>
    /// <param name="generation">Lower 32 bits of the generation of verdicts.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static Vector128<ulong> HotHead(uint generation) => Vector128.Create(HotValid, ConnectionWay.Make(0, generation));

    /// <summary>
    /// The verdict on a quiet packet (<see cref="ConnectionTracking.IsQuiet"/>) of a connection whose state such a packet does not change, with
    /// a route of the given generation; notes that it was seen. False when anything of that is not so, or the entry is not in its home:
    /// ask <see cref="LookBeyond4"/>.
    /// </summary>
    /// <param name="home">See <see cref="Home4(in ConnectionKey4)"/>.</param>
    /// <param name="key">Of the packet.</param>
    /// <param name="generation">Lower 32 bits of the generation of verdicts.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="verdict">What is to be done. Overwritten in any case.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool TryHot4(ConnectionSlot4* home, in ConnectionKey4 key, uint generation, uint now, ref ConnectionVerdict4 verdict)
    {
        ConnectionRewrite4 rewrite = default;
        bool isHot = TryHot4(home, Vector128.Create(key.Flow, key.Addresses), HotHead(generation), now, &rewrite, out ulong control, out verdict.Route);
        verdict.Rewrite = rewrite;
        verdict.Flags = ConnectionControl.Flags(control);
        return isHot;
    }

    /// <inheritdoc cref="TryHot4(ConnectionSlot4*, in ConnectionKey4, uint, uint, ref ConnectionVerdict4)"/>
    /// <param name="home">See <see cref="Home4(in ConnectionKey4)"/>.</param>
    /// <param name="key">Of the packet, as <see cref="ConnectionKey4"/> has it.</param>
    /// <param name="hot">See <see cref="HotHead"/>.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="rewrite">See <see cref="ConnectionVerdict4.Rewrite"/>. Overwritten in any case.</param>
    /// <param name="control">The entry's control word.</param>
    /// <param name="route">See <see cref="ConnectionVerdict4.Route"/>.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool TryHot4(ConnectionSlot4* home, Vector128<ulong> key, Vector128<ulong> hot, uint now,
        ConnectionRewrite4* rewrite, out ulong control, out uint route)
    {
        // The count of lives before and behind all else. Control word, way, flow and addresses are the first half of the line: one branch for all
        // that must be so.
        control = Volatile.Read(ref home->Control);
        Vector256<ulong> head = Vector256.Load(&home->Control);
        Vector256<ulong> wanted = Vector256.Create(hot, key);
        route = 0;
        if (((head ^ wanted) & Vector256.Create(HotMask, ConnectionWay.GenerationMask, ulong.MaxValue, ulong.MaxValue)) != Vector256<ulong>.Zero)
        {
            return false;
        }
        *rewrite = home->Rewrite;
        route = ConnectionWay.Route(head.GetElement(1));
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
        verdict.Route = ConnectionWay.Route(way);
        verdict.Flags = ConnectionControl.Flags(control);
        if (home->LastSeen != now)
        {
            home->LastSeen = now;
        }
        Volatile.ReadBarrier();
        return (uint)Volatile.Read(ref home->Control) == (uint)control;
    }

    /// <summary>
    /// Asks for the slots behind a home in which entries of it may be, up to the fourth, as far as they reach: in a table as full as it may be one
    /// key of nine lies behind the next slot. Without a branch, which nobody could predict.
    /// </summary>
    /// <param name="home">It is in the cache.</param>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static void PrefetchBeyond4(ConnectionSlot4* home)
    {
        int reach = ConnectionWay.Reach(Volatile.Read(ref home->Way));
        ConnectionSlot4* second = home + 1 + IsMore(reach, 1), third = second + IsMore(reach, 2);
        Prefetch(home + 1);
        Prefetch(second);
        Prefetch(third);
        Prefetch(third + IsMore(reach, 3));

        static uint IsMore(int a, int b) => (uint)(b - a) >> 31;
    }

    /// <summary>What the table knows of a packet that <see cref="TryHot4(ConnectionSlot4*, in ConnectionKey4, uint, uint, ref ConnectionVerdict4)"/> found nothing for in its home: looks as far as entries reach.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static HotLook LookBeyond4(ConnectionSlot4* home, in ConnectionKey4 key, uint generation, uint now, ref ConnectionVerdict4 verdict)
    {
        Vector128<ulong> asked = Vector128.Create(key.Flow, key.Addresses);
        ConnectionSlot4* last = home + ConnectionWay.Reach(Volatile.Read(ref home->Way));
        for (ConnectionSlot4* slot = home; slot <= last; slot++)
        {
            if (Vector128.Load(&slot->Flow) == asked && ConnectionControl.MeansKey(Volatile.Read(ref slot->Control)))
            {
                return slot != home && TryHot4(slot, in key, generation, now, ref verdict) ? HotLook.Hot : HotLook.Closer;
            }
        }
        return HotLook.None;
    }

    /// <inheritdoc cref="LookBeyond4"/>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static HotLook LookBeyond6(ConnectionSlot6* home, in ConnectionKey6 key, uint generation, uint now, ref ConnectionVerdict6 verdict)
    {
        int reach = ConnectionWay.Reach(Volatile.Read(ref home->Way));
        for (int i = 0; i <= reach; i++)
        {
            ConnectionSlot6* slot = home + i;
            if (slot->Flow == key.Flow && slot->Source == key.Source && slot->Destination == key.Destination && ConnectionControl.MeansKey(Volatile.Read(ref slot->Control)))
            {
                return i != 0 && TryHot6(slot, in key, generation, now, ref verdict) ? HotLook.Hot : HotLook.Closer;
            }
        }
        return HotLook.None;
    }

    private const ulong HotMask = ((ulong)ConnectionFlags.Hot << 32) | ConnectionControl.PhaseMask;
    private const ulong HotValid = ((ulong)ConnectionFlags.Hot << 32) | (ulong)ConnectionPhase.Valid;
}
