namespace Dataplane.Tables;

/// <summary>
/// What the control plane and housekeeping do with the table: static entries, deleting, listing. A worker calls none of this.
/// </summary>
public readonly unsafe partial struct MacTable
{
    /// <summary>
    /// Makes or replaces an entry of the control plane. False when no slot is free, or somebody began to learn or delete the
    /// address and does not come to an end. Not for workers: it waits for that, for a while. A worker that is learning the
    /// address in this instant may put a second entry before this one, which then rules: look again after a grace period.
    /// </summary>
    /// <param name="key">See <see cref="Key"/>.</param>
    /// <param name="port">Its port; 0 is allowed for a drop entry.</param>
    /// <param name="flags">At least one flag.</param>
    /// <param name="replaced">The dynamic entry that it took the place of, or null.</param>
    public bool SetStatic(ulong key, ushort port, MacFlags flags, out MacEntry? replaced)
    {
        if (flags == MacFlags.None)
        {
            throw new ArgumentException("a static entry needs a flag", nameof(flags));
        }
        replaced = null;
        ulong value = MacValue.Make(port, flags | MacFlags.Static);
        MacBucket* home = Bucket(key);
        var spin = new SpinWait();
        for (int attempt = 0; ; attempt++)
        {
            ulong* slot = FindSlot(key, home);
            if (slot == null)
            {
                LearnResult result = Insert(key, home, value);
                if (result != LearnResult.Known)
                {
                    return result == LearnResult.Learned;
                }
            }
            else
            {
                // A value of 0 or a dead one is about to change: look again.
                ulong old = Volatile.Read(ref slot[MacBucket.Ways]);
                if (old is not 0 and < Dead && Replace(slot, key, old, value))
                {
                    if (!MacValue.IsStatic(old))
                    {
                        replaced = ToEntry(key, old);
                    }
                    return true;
                }
            }
            if (attempt == Patience)
            {
                return false; // who changes it has died, or sleeps
            }
            spin.SpinOnce();
        }
    }

    /// <summary>
    /// Makes an entry that changes with a coming generation (<see cref="StagedMac"/>). False as for <see cref="SetStatic"/>, whose
    /// remarks hold here too; and when the address is unknown and is to be so.
    /// </summary>
    /// <param name="key">See <see cref="Key"/>.</param>
    /// <param name="after">What it is to be, 0 for unknown.</param>
    /// <param name="generation">From when on.</param>
    /// <param name="before">The value that it had, 0 for unknown.</param>
    /// <param name="staged">The value that it has now.</param>
    public bool Stage(ulong key, ulong after, ulong generation, out ulong before, out ulong staged)
    {
        before = 0;
        MacBucket* home = Bucket(key);
        var spin = new SpinWait();
        for (int attempt = 0; ; attempt++)
        {
            ulong* slot = FindSlot(key, home);
            if (slot == null)
            {
                staged = StagedMac.Make(0, after, generation);
                LearnResult result = after == 0 ? LearnResult.Refused : Insert(key, home, staged);
                if (result != LearnResult.Known)
                {
                    return result == LearnResult.Learned;
                }
            }
            else
            {
                before = Volatile.Read(ref slot[MacBucket.Ways]);
                // What the same commit staged before is as if it had not been.
                staged = StagedMac.Make(StagedMac.IsStaged(before) ? StagedMac.Before(before) : before, after, generation);
                if (before is not 0 and < Dead && Replace(slot, key, before, staged))
                {
                    return true;
                }
                before = 0;
            }
            if (attempt == Patience)
            {
                return false;
            }
            spin.SpinOnce();
        }
    }

    /// <summary>Replaces a staged value by a plain one. False when it is not there any more.</summary>
    public bool Unstage(ulong key, ulong staged, ulong plain)
    {
        ulong* slot = FindSlot(key, Bucket(key));
        return slot != null && Replace(slot, key, staged, plain);
    }

    /// <summary>Staged values, by key: what a writer left that died before it replaced them.</summary>
    public List<(ulong Key, ulong Value)> ListStaged()
    {
        var all = new List<(ulong, ulong)>();
        for (int b = 0; b < BucketCount; b++)
        {
            MacBucket* bucket = _buckets + b;
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                ulong value = Volatile.Read(ref bucket->Values[way]);
                if (value < Dead && StagedMac.IsStaged(value))
                {
                    all.Add((Volatile.Read(ref bucket->Keys[way]), value));
                }
            }
        }
        return all;
    }

    /// <summary>Deletes an entry; the address is unknown from now on. False when there is none.</summary>
    /// <param name="key">See <see cref="Key"/>.</param>
    /// <param name="entry">What it was.</param>
    /// <param name="grave">For <see cref="Free"/>, after a grace period.</param>
    public bool Kill(ulong key, out MacEntry entry, out ulong grave) =>
        KillSlot(FindSlot(key, Bucket(key)), key, static (in MacEntry _, object? _) => true, null, out entry, out grave);

    /// <summary>
    /// Frees the slot of an entry killed at least one grace period ago. Does nothing when it is free already.
    /// </summary>
    /// <param name="grave">From <see cref="Kill"/>, <see cref="KillWhere"/> or <see cref="KillUnfinished"/>.</param>
    public void Free(ulong grave)
    {
        ulong* slot = &_buckets[grave >> 34].Keys[(grave >> 32) % MacBucket.Ways];
        ulong dead = Dead | (uint)grave;
        if (Interlocked.CompareExchange(ref slot[MacBucket.Ways], 0, dead) == dead)
        {
            Volatile.Write(ref *slot, 0);
        }
    }

    /// <summary>A condition on an entry.</summary>
    public delegate bool Condition(in MacEntry entry, object? state);

    /// <summary>
    /// Kills the entries in a range of buckets for which a condition holds, and adds what <see cref="Free"/> needs after a
    /// grace period to <paramref name="graves"/>. For ageing (a slice at a time) and for flushing a port or bridge.
    /// </summary>
    public int KillWhere(int firstBucket, int count, Condition condition, object? state, ICollection<ulong> graves, Action<MacEntry>? report = null)
    {
        int n = 0;
        int end = Math.Min(BucketCount, firstBucket + count);
        for (int b = firstBucket; b < end; b++)
        {
            MacBucket* bucket = _buckets + b;
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                ulong key = Volatile.Read(ref bucket->Keys[way]);
                if (key is not (0 or Tomb) && KillSlot(&bucket->Keys[way], key, condition, state, out MacEntry entry, out ulong grave))
                {
                    graves.Add(grave);
                    report?.Invoke(entry);
                    n++;
                }
            }
        }
        return n;
    }

    /// <summary>
    /// The entries in a range of buckets. A listing is not a snapshot: it may miss what changes meanwhile, and shows what is being
    /// committed as it will be.
    /// </summary>
    public void List(int firstBucket, int count, ICollection<MacEntry> into)
    {
        int end = Math.Min(BucketCount, firstBucket + count);
        for (int b = firstBucket; b < end; b++)
        {
            MacBucket* bucket = _buckets + b;
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                ulong key = Volatile.Read(ref bucket->Keys[way]);
                ulong value = Volatile.Read(ref bucket->Values[way]);
                // Read the key again: an entry freed and taken by another address in between is not shown as a mixture.
                if (key != 0 && value < Dead && Volatile.Read(ref bucket->Keys[way]) == key && Shown(value) is not 0 and var shown)
                {
                    into.Add(ToEntry(key, shown));
                }
            }
        }
    }

    /// <summary>All entries.</summary>
    public List<MacEntry> List()
    {
        var all = new List<MacEntry>();
        List(0, BucketCount, all);
        return all;
    }

    /// <summary>
    /// What a process left that died between killing and freeing, or in the midst of learning: kills it, and adds what
    /// <see cref="Free"/> needs after a grace period. A worker that is learning in this instant loses its entry, no more.
    /// </summary>
    public void KillUnfinished(ICollection<ulong> graves)
    {
        for (int b = 0; b < BucketCount; b++)
        {
            for (int way = 0; way < MacBucket.Ways; way++)
            {
                ulong* slot = &_buckets[b].Keys[way];
                ulong key = Volatile.Read(ref *slot);
                if (key == 0)
                {
                    continue;
                }
                ulong value = Volatile.Read(ref slot[MacBucket.Ways]);
                ulong dead = value >= Dead ? value : NewDead();
                if (value == dead || ((value == 0 || key == Tomb) && Replace(slot, key, value, dead)))
                {
                    graves.Add(Bury(slot, key, dead));
                }
            }
        }
    }

    /// <summary>As <see cref="KillUnfinished"/>, and frees all of it at once: only while no worker runs. Gives how many.</summary>
    public int FreeAllDead()
    {
        var graves = new List<ulong>();
        KillUnfinished(graves);
        graves.ForEach(Free);
        return graves.Count;
    }

    private static ulong Shown(ulong value) => StagedMac.IsStaged(value) ? StagedMac.After(value) : value;

    private static ulong NewDead() => Dead | (uint)Interlocked.Increment(ref s_killings);

    /// <summary>Hides the slot of a dead entry. Gives the number of the slot and of the killing.</summary>
    private ulong Bury(ulong* slot, ulong key, ulong dead)
    {
        Interlocked.CompareExchange(ref *slot, Tomb, key);
        ulong word = (ulong)(slot - (ulong*)_buckets); // eight words per bucket, the first four are keys
        return (((word >> 3 << 2) | (word & 3)) << 32) | (uint)dead;
    }

    private bool KillSlot(ulong* slot, ulong key, Condition condition, object? state, out MacEntry entry, out ulong grave)
    {
        entry = default;
        grave = 0;
        if (slot == null)
        {
            return false;
        }
        // A worker that refreshes or moves the entry in this instant makes a swap fail; then it is judged anew as it is now.
        for (int attempt = 0; attempt < Patience; attempt++)
        {
            ulong value = Volatile.Read(ref slot[MacBucket.Ways]);
            if (value is 0 or >= Dead || Volatile.Read(ref *slot) != key)
            {
                return false;
            }
            entry = ToEntry(key, value);
            if (!condition(entry, state))
            {
                return false;
            }
            ulong dead = NewDead();
            if (Replace(slot, key, value, dead))
            {
                grave = Bury(slot, key, dead);
                return true;
            }
        }
        return false;
    }

    /// <summary>Replaces the value of a key, for callers that no grace period protects; see the remarks of the type.</summary>
    private static bool Replace(ulong* slot, ulong key, ulong from, ulong to)
    {
        if (Interlocked.CompareExchange(ref slot[MacBucket.Ways], to, from) != from)
        {
            return false;
        }
        if (Volatile.Read(ref *slot) == key)
        {
            return true;
        }
        Interlocked.CompareExchange(ref slot[MacBucket.Ways], from, to);
        return false;
    }
}
