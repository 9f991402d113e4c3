namespace Dataplane.Tables;

/// <summary>
/// What the control plane and housekeeping do with the table: permanent entries, removing, listing. Apart from <see cref="Kill"/>
/// and <see cref="Free"/>, a worker calls none of this.
/// </summary>
public readonly unsafe partial struct NeighbourTable
{
    /// <summary>How often a caller that is no worker looks at a slot that others are changing.</summary>
    private const int Patience = 200;

    /// <summary>Numbers of killings: they differ within a process, and begin anywhere.</summary>
    private static int s_killings = Random.Shared.Next();

    /// <summary>A condition on an entry.</summary>
    public delegate bool Condition(in NeighbourEntry entry, object? state);

    /// <summary>
    /// Makes or replaces an entry of the control plane. False when no slot is free, or somebody began to make or remove the entry
    /// and does not come to an end. Not for workers: it waits for that, for a while. A worker that is making the entry in this
    /// instant may put another one before this one, which then rules: look again after a grace period.
    /// </summary>
    public bool SetPermanent(in NeighbourKey key, ulong mac, NeighbourFlags flags = NeighbourFlags.None)
    {
        ulong value = NeighbourValue.Make(NeighbourState.Permanent, mac, flags);
        var spin = new SpinWait();
        for (int attempt = 0; attempt <= Patience; attempt++)
        {
            NeighbourResult result = Insert(in key, value, 0, out NeighbourSlot slot);
            if (result is NeighbourResult.Inserted or NeighbourResult.Full)
            {
                return result == NeighbourResult.Inserted;
            }
            if (result == NeighbourResult.Present)
            {
                // A value of 0 is about to change: look again.
                ulong old = slot.Value;
                if (old != 0 && Replace(slot.Key, key.Word, old, value))
                {
                    return true;
                }
            }
            spin.SpinOnce();
        }
        return false; // who changes it has died, or sleeps
    }

    /// <summary>Deletes an entry; the neighbour is unknown from now on. False when there is none.</summary>
    /// <param name="key">Whom it is about.</param>
    /// <param name="entry">What it was.</param>
    /// <param name="grave">For <see cref="Free"/>, after a grace period.</param>
    public bool Kill(in NeighbourKey key, out NeighbourEntry entry, out ulong grave)
    {
        entry = default;
        grave = 0;
        return TryFind(in key, out NeighbourSlot slot)
            && KillSlot(slot.Key, key.Word, static (in NeighbourEntry _, object? _) => true, null, out entry, out grave);
    }

    /// <summary>Frees the slot of an entry killed at least one grace period ago. Does nothing when it is free already.</summary>
    /// <param name="grave">From whatever killed it.</param>
    public void Free(ulong grave)
    {
        ulong* slot = &_buckets[grave >> 34].Keys[(grave >> 32) % NeighbourBucket.Ways];
        ulong dead = NeighbourValue.Dead | (uint)grave;
        if (Interlocked.CompareExchange(ref slot[NeighbourBucket.Ways], 0, dead) == dead)
        {
            Volatile.Write(ref *slot, 0);
        }
    }

    /// <summary>
    /// Kills the entries in a range of buckets for which a condition holds, and adds what <see cref="Free"/> needs after a
    /// grace period to <paramref name="graves"/>. Gives how many.
    /// </summary>
    public int KillWhere(int firstBucket, int count, Condition condition, object? state, ICollection<ulong> graves)
    {
        int n = 0;
        int end = Math.Min(BucketCount, firstBucket + count);
        for (int b = firstBucket; b < end; b++)
        {
            NeighbourBucket* bucket = _buckets + b;
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                ulong word = Volatile.Read(ref bucket->Keys[way]);
                if (word is not (0 or Tomb) && KillSlot(&bucket->Keys[way], word, condition, state, out _, out ulong grave))
                {
                    graves.Add(grave);
                    n++;
                }
            }
        }
        return n;
    }

    /// <summary>The entries in a range of buckets. A listing is not a snapshot: it may miss what changes meanwhile.</summary>
    public void List(int firstBucket, int count, ICollection<NeighbourEntry> into)
    {
        int end = Math.Min(BucketCount, firstBucket + count);
        for (int b = firstBucket; b < end; b++)
        {
            NeighbourBucket* bucket = _buckets + b;
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                if (TryRead(&bucket->Keys[way], out NeighbourEntry entry))
                {
                    into.Add(entry);
                }
            }
        }
    }

    /// <summary>All entries.</summary>
    public List<NeighbourEntry> List()
    {
        var all = new List<NeighbourEntry>();
        List(0, BucketCount, all);
        return all;
    }

    /// <summary>
    /// What a process left that died between killing and freeing, or in the midst of inserting: kills it, and adds what
    /// <see cref="Free"/> needs after a grace period. A worker that is inserting in this instant loses its entry, no more.
    /// </summary>
    public void KillUnfinished(ICollection<ulong> graves)
    {
        for (int b = 0; b < BucketCount; b++)
        {
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                ulong* slot = &_buckets[b].Keys[way];
                ulong word = Volatile.Read(ref *slot);
                if (word == 0)
                {
                    continue;
                }
                ulong value = Volatile.Read(ref slot[NeighbourBucket.Ways]);
                ulong dead = NeighbourValue.IsDead(value) ? value : NewDead();
                if (value == dead || ((value == 0 || word == Tomb) && Replace(slot, word, value, dead)))
                {
                    graves.Add(Bury(slot, word, dead));
                }
            }
        }
    }

    /// <summary>
    /// What a predecessor of the engine left: nobody asks for what was being asked for, and what was reachable may have gone
    /// meanwhile. Only while no worker runs.
    /// </summary>
    public void Restart()
    {
        var graves = new List<ulong>();
        KillUnfinished(graves);
        for (int b = 0; b < BucketCount; b++)
        {
            for (int way = 0; way < NeighbourBucket.Ways; way++)
            {
                ulong* slot = &_buckets[b].Keys[way];
                ulong value = slot[NeighbourBucket.Ways];
                if (NeighbourValue.State(value) is NeighbourState.Reachable or NeighbourState.Delay or NeighbourState.Probe)
                {
                    Interlocked.CompareExchange(ref slot[NeighbourBucket.Ways], NeighbourValue.With(value, NeighbourState.Stale), value);
                }
            }
        }
        KillWhere(0, BucketCount, static (in NeighbourEntry e, object? _) => e.State < NeighbourState.Stale, null, graves);
        graves.ForEach(Free);
    }

    private static ulong NewDead() => NeighbourValue.Dead | (uint)Interlocked.Increment(ref s_killings);

    /// <summary>Hides the slot of a dead entry. Gives the number of the slot and of the killing.</summary>
    private ulong Bury(ulong* slot, ulong word, ulong dead)
    {
        Interlocked.CompareExchange(ref *slot, Tomb, word);
        ulong at = (ulong)(slot - (ulong*)_buckets); // eight words per bucket, the first four are keys
        return (((at >> 3 << 2) | (at & 3)) << 32) | (uint)dead;
    }

    private bool KillSlot(ulong* slot, ulong word, Condition condition, object? state, out NeighbourEntry entry, out ulong grave)
    {
        entry = default;
        grave = 0;
        // A worker that changes the entry in this instant makes a swap fail; then it is judged anew as it is now.
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong value = Volatile.Read(ref slot[NeighbourBucket.Ways]);
            if (!TryRead(slot, out entry) || entry.Key.Word != word || !condition(in entry, state))
            {
                return false;
            }
            ulong dead = NewDead();
            if (Replace(slot, word, value, dead))
            {
                grave = Bury(slot, word, dead);
                return true;
            }
        }
        return false;
    }

    /// <summary>An entry as it stands there; false when there is none, or one that is about to come or to go.</summary>
    private bool TryRead(ulong* slot, out NeighbourEntry entry)
    {
        entry = default;
        ulong word = Volatile.Read(ref *slot);
        ulong value = Volatile.Read(ref slot[NeighbourBucket.Ways]);
        if (word is 0 or Tomb || Alive(value) == 0)
        {
            return false;
        }
        ulong at = (ulong)(slot - (ulong*)_buckets);
        NeighbourDetail detail = _details[(at >> 3 << 2) | (at & 3)];
        entry = new NeighbourEntry(new NeighbourKey(word, detail.Port, detail.High, detail.Low),
            NeighbourValue.Mac(value), NeighbourValue.State(value), NeighbourValue.Flags(value), detail.Confirmed, detail.Changed);
        Interlocked.MemoryBarrier();
        // Freed and taken by another neighbour in between: no mixture.
        return Volatile.Read(ref *slot) == word && Volatile.Read(ref slot[NeighbourBucket.Ways]) != 0;
    }

    /// <summary>Replaces the value of a key, for callers that no grace period protects; see the remarks of <see cref="MacTable"/>.</summary>
    private static bool Replace(ulong* slot, ulong word, ulong from, ulong to)
    {
        if (Interlocked.CompareExchange(ref slot[NeighbourBucket.Ways], to, from) != from)
        {
            return false;
        }
        if (Volatile.Read(ref *slot) == word)
        {
            return true;
        }
        Interlocked.CompareExchange(ref slot[NeighbourBucket.Ways], from, to);
        return false;
    }
}
