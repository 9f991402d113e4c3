namespace Dataplane.Tables;

/// <summary>What became of an attempt to make an entry.</summary>
public enum NeighbourResult
{
    Inserted,
    /// <summary>There is one already.</summary>
    Present,
    /// <summary>Another worker makes it, or control removes it, in this instant.</summary>
    Busy,
    /// <summary>No free slot near the key's bucket.</summary>
    Full,
}

/// <summary>What workers do with the table beside looking up. None of it waits.</summary>
public readonly unsafe partial struct NeighbourTable
{
    /// <summary>Makes an entry, unless there is one.</summary>
    /// <param name="key">Whom it is about.</param>
    /// <param name="value">See <see cref="NeighbourValue"/>.</param>
    /// <param name="now">Seconds.</param>
    /// <param name="slot">The entry, of this call or from before; of no use when the result is another one.</param>
    public NeighbourResult Insert(in NeighbourKey key, ulong value, uint now, out NeighbourSlot slot)
    {
        // It may stand behind a slot that was freed since.
        if (TryFind(in key, out slot))
        {
            return slot.Value != 0 ? NeighbourResult.Present : NeighbourResult.Busy;
        }
        NeighbourBucket* home = Bucket(key.Word);
        for (int i = 0; i < Window; i++)
        {
            NeighbourBucket* bucket = Follow(home, i);
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                ulong found = Volatile.Read(ref bucket->Keys[way]);
                if (found == 0)
                {
                    found = Interlocked.CompareExchange(ref bucket->Keys[way], key.Word, 0);
                    if (found == 0)
                    {
                        slot = new NeighbourSlot(&bucket->Keys[way], DetailOf(bucket, way));
                        return Complete(slot, in key, value, now);
                    }
                }
                if (found != key.Word)
                {
                    continue;
                }
                // Another worker has begun it since we looked, or an IPv6 address with the same hash, which has to be ruled out.
                if (Volatile.Read(ref bucket->Values[way]) == 0 || Holds(bucket, way, in key))
                {
                    return NeighbourResult.Busy;
                }
            }
        }
        return NeighbourResult.Full;
    }

    /// <summary>Changes an entry. False when somebody else was faster: its value is another one now.</summary>
    /// <param name="slot">From this poll.</param>
    /// <param name="from">Its value, as it was read.</param>
    /// <param name="to">The new one.</param>
    /// <param name="now">Seconds.</param>
    public static bool TryChange(NeighbourSlot slot, ulong from, ulong to, uint now)
    {
        Stamp(slot.Detail, from, to, now);
        return from == to || Interlocked.CompareExchange(ref slot.Key[NeighbourBucket.Ways], to, from) == from;
    }

    /// <summary>
    /// Kills an entry that can best be spared where a key finds no slot: one that failed, or else the stale one of the longest
    /// standing. There is room when <see cref="Free"/> was called after a grace period. False when all are needed.
    /// </summary>
    public bool Spare(in NeighbourKey key, uint now, out ulong grave)
    {
        NeighbourBucket* home = Bucket(key.Word);
        ulong* best = null;
        ulong seen = 0;
        long longest = -1;
        for (int i = 0; i < Window; i++)
        {
            NeighbourBucket* bucket = Follow(home, i);
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                ulong value = Volatile.Read(ref bucket->Values[way]);
                NeighbourState state = NeighbourValue.State(value);
                if (state is not (NeighbourState.Failed or NeighbourState.Stale))
                {
                    continue;
                }
                long age = (now - DetailOf(bucket, way)->Changed) + (state == NeighbourState.Failed ? 1L << 32 : 0);
                if (age > longest)
                {
                    best = &bucket->Keys[way];
                    (seen, longest) = (value, age);
                }
            }
        }
        grave = 0;
        ulong word = best != null ? Volatile.Read(ref *best) : 0;
        if (word is 0 or Tomb)
        {
            return false;
        }
        ulong dead = NewDead();
        if (!Replace(best, word, seen, dead))
        {
            return false;
        }
        grave = Bury(best, word, dead);
        return true;
    }

    /// <summary>Fills a slot that was just taken.</summary>
    private static NeighbourResult Complete(NeighbourSlot slot, in NeighbourKey key, ulong value, uint now)
    {
        NeighbourDetail* detail = slot.Detail;
        detail->High = key.High;
        detail->Low = key.Low;
        detail->Port = (ushort)key.Port;
        detail->Confirmed = 0;
        Stamp(detail, 0, value, now);
        // The slot is ours and its value 0, or dead when somebody took us for a dead process.
        return Interlocked.CompareExchange(ref slot.Key[NeighbourBucket.Ways], value, 0) == 0 ? NeighbourResult.Inserted : NeighbourResult.Busy;
    }

    /// <summary>
    /// Before the value, so that nobody judges it by the times of the one before. When the change fails the times are those of an
    /// attempt, which does no harm: they only ever make an entry younger.
    /// </summary>
    private static void Stamp(NeighbourDetail* detail, ulong from, ulong to, uint now)
    {
        if (NeighbourValue.State(to) == NeighbourState.Reachable)
        {
            Volatile.Write(ref detail->Confirmed, now);
        }
        if (NeighbourValue.State(from) != NeighbourValue.State(to))
        {
            Volatile.Write(ref detail->Changed, now);
        }
    }
}
