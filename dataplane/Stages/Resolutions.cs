using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Stages;

/// <summary>What a worker does about a neighbour.</summary>
public enum ResolutionKind : byte
{
    /// <summary>Asks the link for it: the entry is INCOMPLETE, and this worker made it so.</summary>
    Asking,
    /// <summary>Waits for what another worker asks.</summary>
    Waiting,
    /// <summary>Gives traffic the time to prove the neighbour reachable: the entry is in DELAY.</summary>
    Delaying,
    /// <summary>Asks the neighbour itself: the entry is in PROBE.</summary>
    Probing,
}

/// <summary>A packet that waits for a neighbour's address, and the port that accounts for it.</summary>
public unsafe struct HeldPacket
{
    public rte_mbuf* Mbuf;
    public nint Account;
}

[InlineArray(Resolutions.PacketsPerNeighbour)]
public struct HeldPackets
{
    private HeldPacket _first;
}

/// <summary>One neighbour that a worker has to do with.</summary>
public struct Resolution
{
    public NeighbourKey Key;
    /// <summary>When something is to be done, in nanoseconds of the worker's clock.</summary>
    public ulong Deadline;
    public ResolutionKind Kind;
    /// <summary>Solicitations sent.</summary>
    public byte Attempts;
    /// <summary>Packets that wait, the oldest first.</summary>
    public byte Count;
    public HeldPackets Packets;
}

/// <summary>
/// What one worker has under way with neighbours: whom it asks for, and which packets wait. Nobody else reads or writes it. All of it
/// is bounded, so that whoever sends to a thousand addresses where nobody is can neither fill the memory nor keep others from
/// being resolved: the resolution that began first makes room.
/// </summary>
public sealed unsafe class Resolutions : IDisposable
{
    /// <summary>Neighbours at once.</summary>
    public const int Capacity = 512;

    /// <summary>Packets that wait for one neighbour: all fragments of a large datagram. RFC 1122, 2.3.2.2 asks for one at least.</summary>
    public const int PacketsPerNeighbour = 8;

    /// <summary>Packets that wait for all of them.</summary>
    public const int MaxPackets = 1024;

    /// <summary>Entries of the table that this worker has killed and not freed yet.</summary>
    private const int MaxGraves = 64;

    private readonly ulong* _words;
    private readonly Resolution* _all;
    private readonly ulong* _graves;
    private int _graveCount;
    private ulong _grace;
    private int _next;

    public Resolutions()
    {
        _words = (ulong*)NativeMemory.AlignedAlloc(Capacity * sizeof(ulong), 64);
        NativeMemory.Clear(_words, Capacity * sizeof(ulong));
        _all = (Resolution*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Resolution));
        _graves = (ulong*)NativeMemory.AllocZeroed(MaxGraves, sizeof(ulong));
    }

    /// <summary>Neighbours under way.</summary>
    public int Count { get; private set; }

    /// <summary>Packets that wait.</summary>
    public int Packets { get; set; }

    /// <summary>The first moment at which something is to be done, in nanoseconds.</summary>
    public ulong Next { get; set; } = ulong.MaxValue;

    /// <summary>Whether there is anything to look after.</summary>
    public bool IsBusy => Count + _graveCount != 0;

    /// <summary>The place of a neighbour, or -1.</summary>
    public int Find(in NeighbourKey key)
    {
        if (Count == 0)
        {
            return -1;
        }
        var words = new ReadOnlySpan<ulong>(_words, Capacity);
        for (int at = 0; ; at++)
        {
            int step = words[at..].IndexOf(key.Word);
            if (step < 0)
            {
                return -1;
            }
            at += step;
            if (_all[at].Key == key)
            {
                return at;
            }
            if (at == Capacity - 1)
            {
                return -1;
            }
        }
    }

    public ref Resolution this[int at] => ref _all[at];

    public bool IsUsed(int at) => _words[at] != 0;

    /// <summary>Takes a place for a neighbour that has none. -1 when all are taken.</summary>
    public int Add(in NeighbourKey key, ResolutionKind kind, ulong deadline)
    {
        int at = Count == Capacity ? -1 : new ReadOnlySpan<ulong>(_words, Capacity).IndexOf(0ul);
        if (at < 0)
        {
            return -1;
        }
        _words[at] = key.Word;
        ref Resolution it = ref _all[at];
        it.Key = key;
        it.Kind = kind;
        it.Attempts = 0;
        it.Count = 0;
        Count++;
        SetDeadline(at, deadline);
        return at;
    }

    public void SetDeadline(int at, ulong deadline)
    {
        _all[at].Deadline = deadline;
        Next = Math.Min(Next, deadline);
    }

    /// <summary>Gives a place back. Its packets have been taken out.</summary>
    public void Remove(int at)
    {
        _words[at] = 0;
        Count--;
    }

    /// <summary>About the oldest of those that wait for an answer, -1 when there is none: places are taken in turn.</summary>
    public int Oldest()
    {
        for (int i = 0; i < Capacity; i++)
        {
            int at = _next;
            _next = (_next + 1) % Capacity;
            if (_words[at] != 0 && _all[at].Kind <= ResolutionKind.Waiting)
            {
                return at;
            }
        }
        return -1;
    }

    /// <summary>Lets a packet wait. The caller has seen to it that there is room.</summary>
    public void Hold(int at, int account, rte_mbuf* mbuf)
    {
        ref Resolution it = ref _all[at];
        it.Packets[it.Count++] = new HeldPacket { Mbuf = mbuf, Account = account };
        Packets++;
    }

    /// <summary>Takes the oldest packet out. False when none waits.</summary>
    public bool TryTake(int at, out HeldPacket packet)
    {
        ref Resolution it = ref _all[at];
        packet = it.Packets[0];
        if (it.Count == 0)
        {
            return false;
        }
        it.Count--;
        Packets--;
        for (int i = 0; i < it.Count; i++)
        {
            it.Packets[i] = it.Packets[i + 1];
        }
        return true;
    }

    /// <summary>Whether killed entries wait to be freed.</summary>
    public bool HasGraves => _graveCount != 0;

    /// <summary>Whether another killed entry can be noted.</summary>
    public bool CanBury => _graveCount < MaxGraves;

    /// <summary>Notes a killed entry of the table, to be freed when no worker holds it any more.</summary>
    public void Bury(ulong grave, Quiescence quiescence)
    {
        _graves[_graveCount++] = grave;
        _grace = quiescence.Advance();
    }

    /// <summary>Frees killed entries, if their time has come.</summary>
    public void Free(NeighbourTable table, Quiescence quiescence)
    {
        if (_graveCount == 0 || !quiescence.HasPassed(_grace))
        {
            return;
        }
        for (int i = 0; i < _graveCount; i++)
        {
            table.Free(_graves[i]);
        }
        _graveCount = 0;
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_words);
        NativeMemory.Free(_all);
        NativeMemory.Free(_graves);
    }
}
