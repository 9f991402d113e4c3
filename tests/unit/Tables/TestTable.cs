using Dataplane.Interop.Linux;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>A MAC table in private memory whose hash, and so every collision, is the same in every run.</summary>
internal sealed unsafe class TestTable : IDisposable
{
    private const ulong Tomb = ulong.MaxValue;

    private readonly SharedMemory _memory;

    public TestTable(int bits, ulong seed = 1)
    {
        _memory = SharedMemory.CreatePrivate((nuint)sizeof(MacBucket) << bits);
        Buckets = (MacBucket*)_memory.Pointer;
        Macs = new MacTable(Buckets, bits, seed);
    }

    public MacTable Macs { get; }
    public MacBucket* Buckets { get; }

    public void Dispose() => _memory.Dispose();

    /// <summary>The bucket that a key belongs into.</summary>
    public int Home(ulong key) => (int)(Macs.Bucket(key) - Buckets);

    /// <summary>Different keys that belong into one bucket.</summary>
    public List<ulong> Colliding(int count, int home = 0)
    {
        var keys = new List<ulong>();
        for (ulong mac = 2; keys.Count < count; mac += 2)
        {
            ulong key = MacTable.Key(1, mac);
            if (Home(key) == home)
            {
                keys.Add(key);
            }
        }
        return keys;
    }

    /// <summary>Whether a slot is free where a key may live.</summary>
    public bool HasRoom(ulong key)
    {
        for (int i = 0; i < MacTable.Window; i++)
        {
            MacBucket* bucket = Buckets + ((Home(key) + i) & (Macs.BucketCount - 1));
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                if (bucket->Keys[way] == 0)
                {
                    return true;
                }
            }
        }
        return false;
    }

    /// <summary>Every key that stands in the table, as often as it stands there.</summary>
    public List<ulong> AllKeys()
    {
        var keys = new List<ulong>();
        for (int b = 0; b < Macs.BucketCount; b++)
        {
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                if (Buckets[b].Keys[way] is not (0 or Tomb))
                {
                    keys.Add(Buckets[b].Keys[way]);
                }
            }
        }
        return keys;
    }

    /// <summary>Slots that are not free: those of entries, and of killed ones that were not freed yet.</summary>
    public int TakenSlots()
    {
        int n = 0;
        for (int b = 0; b < Macs.BucketCount; b++)
        {
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                n += Buckets[b].Keys[way] != 0 ? 1 : 0;
            }
        }
        return n;
    }

    /// <summary>A free slot has no value: whoever takes it relies on that.</summary>
    public bool FreeSlotsAreClean()
    {
        for (int b = 0; b < Macs.BucketCount; b++)
        {
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                if (Buckets[b].Keys[way] == 0 && Buckets[b].Values[way] != 0)
                {
                    return false;
                }
            }
        }
        return true;
    }
}
