using Dataplane.Interop.Linux;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>A neighbour table in private memory whose hash, and so every collision, is the same in every run.</summary>
internal sealed unsafe class TestNeighbours : IDisposable
{
    private const ulong Tomb = ulong.MaxValue;

    private readonly SharedMemory _memory;

    public TestNeighbours(int bits, ulong seed = 1)
    {
        _memory = SharedMemory.CreatePrivate((nuint)NeighbourTable.SizeInBytes(bits));
        Buckets = (NeighbourBucket*)_memory.Pointer;
        Table = new NeighbourTable(Buckets, bits, seed);
    }

    public NeighbourTable Table { get; }
    public NeighbourBucket* Buckets { get; }

    public void Dispose() => _memory.Dispose();

    /// <summary>The bucket that a key belongs into.</summary>
    public int Home(in NeighbourKey key) => (int)(Table.Bucket(key.Word) - Buckets);

    /// <summary>Different IPv4 keys that belong into one bucket.</summary>
    public List<NeighbourKey> Colliding(int count, int home = 0)
    {
        var keys = new List<NeighbourKey>();
        for (uint address = 1; keys.Count < count; address++)
        {
            NeighbourKey key = NeighbourTable.Key4(1, address);
            if (Home(in key) == home)
            {
                keys.Add(key);
            }
        }
        return keys;
    }

    /// <summary>Whether a slot is free where a key may live.</summary>
    public bool HasRoom(in NeighbourKey key)
    {
        int home = Home(in key);
        return Enumerable.Range(0, NeighbourTable.Window).Any(i => Words((home + i) & (Table.BucketCount - 1)).Contains(0ul));
    }

    /// <summary>Every word that stands in the table, as often as it stands there.</summary>
    public List<ulong> AllWords() => [.. Enumerable.Range(0, Table.BucketCount).SelectMany(Words).Where(word => word is not (0 or Tomb))];

    /// <summary>Slots that are not free: those of entries, and of killed ones that were not freed yet.</summary>
    public int TakenSlots() => Enumerable.Range(0, Table.BucketCount).SelectMany(Words).Count(word => word != 0);

    /// <summary>A free slot has no value: whoever takes it relies on that.</summary>
    public bool FreeSlotsAreClean()
    {
        for (int b = 0; b < Table.BucketCount; b++)
        {
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                if (Buckets[b].Keys[way] == 0 && Buckets[b].Values[way] != 0)
                {
                    return false;
                }
            }
        }
        return true;
    }

    private ulong[] Words(int bucket) => [.. new ReadOnlySpan<ulong>(Buckets[bucket].Keys, NeighbourBucket.Ways)];
}
