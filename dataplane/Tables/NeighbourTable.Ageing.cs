namespace Dataplane.Tables;

/// <summary>What becomes of entries with time. Housekeeping calls it, a slice at a time.</summary>
public readonly unsafe partial struct NeighbourTable
{
    /// <summary>
    /// Lets a range of buckets grow older: what was reachable goes stale, what failed or is not used any more is killed, and so is
    /// what was learned on an interface that is gone. Adds what <see cref="Free"/> needs after a grace period to
    /// <paramref name="graves"/>. Gives how many were killed.
    /// </summary>
    /// <param name="firstBucket">The first one.</param>
    /// <param name="count">How many.</param>
    /// <param name="now">Seconds of the workers' clock.</param>
    /// <param name="interfaces">By port, whether it is an interface.</param>
    /// <param name="graves">Of those killed.</param>
    public int Age(int firstBucket, int count, uint now, bool[] interfaces, ICollection<ulong> graves)
    {
        int n = 0;
        int end = Math.Min(BucketCount, firstBucket + count);
        for (int b = firstBucket; b < end; b++)
        {
            NeighbourBucket* bucket = _buckets + b;
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                ulong* slot = &bucket->Keys[way];
                // A worker that changes the entry meanwhile makes the swap fail: it is judged anew in the next round.
                ulong value = Volatile.Read(ref slot[NeighbourBucket.Ways]);
                if (value == 0 || !TryRead(slot, out NeighbourEntry entry))
                {
                    continue;
                }
                NeighbourState next = After(in entry, now, interfaces);
                if (next == NeighbourState.Stale)
                {
                    Volatile.Write(ref DetailOf(bucket, way)->Changed, now);
                    Replace(slot, entry.Key.Word, value, NeighbourValue.With(value, NeighbourState.Stale));
                }
                else if (next == NeighbourState.None)
                {
                    ulong dead = NewDead();
                    if (Replace(slot, entry.Key.Word, value, dead))
                    {
                        graves.Add(Bury(slot, entry.Key.Word, dead));
                        n++;
                    }
                }
            }
        }
        return n;
    }

    /// <summary>The state of an entry after so much time: None when it is to be forgotten, Stale, or Permanent when nothing changes.</summary>
    private static NeighbourState After(in NeighbourEntry entry, uint now, bool[] interfaces)
    {
        const NeighbourState Unchanged = NeighbourState.Permanent;
        if (entry.State == NeighbourState.Permanent)
        {
            return Unchanged;
        }
        if ((uint)entry.Key.Port >= (uint)interfaces.Length || !interfaces[entry.Key.Port])
        {
            return NeighbourState.None;
        }
        uint since = Since(entry.Changed, now);
        return entry.State switch
        {
            NeighbourState.Reachable when Since(entry.Confirmed, now) >= NeighbourTimes.ReachableOf(in entry) => NeighbourState.Stale,
            NeighbourState.Delay or NeighbourState.Probe when since >= NeighbourTimes.Orphaned => NeighbourState.Stale,
            NeighbourState.Incomplete when since >= NeighbourTimes.Orphaned => NeighbourState.None,
            NeighbourState.Failed when since >= NeighbourTimes.FailedIsForgotten => NeighbourState.None,
            NeighbourState.Stale when since >= NeighbourTimes.Unused => NeighbourState.None,
            _ => Unchanged,
        };
    }

    /// <summary>An entry from "the future" was changed while we looked: another worker's clock may be ahead.</summary>
    private static uint Since(uint time, uint now) => (int)(now - time) < 0 ? 0 : now - time;
}
