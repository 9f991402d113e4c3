using System.Globalization;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Random operations on a MAC table and on a dictionary that means the same; after each they must agree. The seed of a run
/// that fails is in its message.
/// </summary>
public sealed unsafe class MacTableModelTests
{
    private sealed record Entry(ushort Port, MacFlags Flags, uint LastSeen, uint Window, int Moves);

    [Theory]
    [InlineData(4, 200)] // a table that is full most of the time
    [InlineData(5, 60)]
    [InlineData(8, 400)]
    public void The_table_does_what_a_dictionary_would(int bits, int addresses)
    {
        var results = new HashSet<LearnResult>();
        for (int seed = 0; seed < 100; seed++)
        {
            if (Run(seed, bits, addresses, results) is { } problem)
            {
                Assert.Fail(string.Create(CultureInfo.InvariantCulture, $"seed {seed}: {problem}"));
            }
        }
        // The operations met everything that can happen.
        Assert.Equal(Enum.GetValues<LearnResult>().Where(r => bits == 4 || r != LearnResult.Full), results.Order());
    }

    private static string? Run(int seed, int bits, int addresses, HashSet<LearnResult> results)
    {
        using var table = new TestTable(bits, seed: (ulong)seed * 0x9E37_79B9);
        MacTable macs = table.Macs;
        var random = new Random(seed);
        var model = new Dictionary<ulong, Entry>();
        var graves = new List<ulong>(); // killed and not freed
        var old = new List<ulong>(); // freed
        uint now = 1000;
        ulong[] keys = [.. Enumerable.Range(0, addresses).Select(_ => MacTable.Key((uint)random.Next(1, 4), (ulong)random.NextInt64() & ~1ul))];
        for (int step = 0; step < 2000; step++)
        {
            now += random.Next(8) == 0 ? (uint)random.Next(1, 4) : 0;
            // Some addresses are busier than others: they flap.
            ulong key = keys[random.Next(random.Next(2) == 0 ? 5 : keys.Length)];
            ushort port = (ushort)random.Next(1, 4);
            string what;
            switch (random.Next(100))
            {
                case < 60:
                    bool allowNew = random.Next(8) != 0;
                    bool fresh = MacTable.IsFresh(key, macs.Bucket(key), port, now);
                    if (fresh && !(model.TryGetValue(key, out Entry? e) && e.Flags == MacFlags.None && e.Port == port && e.LastSeen == now))
                    {
                        return $"step {step}: {key:x} is fresh on port {port} at {now}";
                    }
                    LearnResult result = macs.Learn(key, port, now, allowNew, out ushort oldPort);
                    LearnResult expected = Learn(model, key, port, now, allowNew, table.HasRoom(key), result, out ushort expectedOld);
                    results.Add(result);
                    what = $"learn {key:x} on {port}: {result}, from {oldPort}";
                    if (result != expected || oldPort != expectedOld)
                    {
                        return $"step {step}: {what} instead of {expected}, from {expectedOld}";
                    }
                    break;

                case < 70:
                    MacFlags flags = (MacFlags)random.Next(1, 4);
                    bool hadRoom = table.HasRoom(key);
                    bool done = macs.SetStatic(key, port, flags, out MacEntry? replaced);
                    what = $"static {key:x} on {port}: {done}";
                    if (done != (hadRoom || model.ContainsKey(key)))
                    {
                        return $"step {step}: {what}";
                    }
                    MacEntry? shouldReplace = model.TryGetValue(key, out Entry? before) && before.Flags == MacFlags.None ? Listed(key, before) : null;
                    if (replaced != shouldReplace)
                    {
                        return $"step {step}: {what} replaced {replaced} and not {shouldReplace}";
                    }
                    if (done)
                    {
                        model[key] = new Entry(port, flags | MacFlags.Static, 0, 0, 0);
                    }
                    break;

                case < 80:
                    bool killed = macs.Kill(key, out MacEntry entry, out ulong grave);
                    what = $"kill {key:x}: {killed}";
                    if (killed != model.TryGetValue(key, out Entry? victim) || (killed && entry != Listed(key, victim!)))
                    {
                        return $"step {step}: {what}, {entry}";
                    }
                    if (killed)
                    {
                        model.Remove(key);
                        graves.Add(grave);
                    }
                    break;

                case < 92:
                    what = "free";
                    if (graves.Count > 0)
                    {
                        int i = random.Next(graves.Count);
                        macs.Free(graves[i]);
                        old.Add(graves[i]);
                        graves.RemoveAt(i);
                        macs.Free(old[random.Next(old.Count)]); // once more: nothing happens
                    }
                    break;

                case < 96:
                    var entries = new List<MacEntry>();
                    uint limit = now - (uint)random.Next(20);
                    macs.KillWhere(0, macs.BucketCount, (in MacEntry e, object? _) => e.Flags == MacFlags.None && e.LastSeen < limit, null, graves, entries.Add);
                    ulong[] aged = [.. model.Where(p => p.Value.Flags == MacFlags.None && p.Value.LastSeen < limit).Select(p => p.Key)];
                    what = $"age before {limit}";
                    if (!entries.Select(KeyOf).Order().SequenceEqual(aged.Order()))
                    {
                        return $"step {step}: {what}: {entries.Count} and not {aged.Length}";
                    }
                    foreach (ulong gone in aged)
                    {
                        model.Remove(gone);
                    }
                    break;

                default:
                    what = "free all";
                    if (macs.FreeAllDead() != graves.Count)
                    {
                        return $"step {step}: {what}";
                    }
                    graves.Clear();
                    break;
            }

            ulong value = macs.Find(key);
            Entry? meant = model.GetValueOrDefault(key);
            if (meant is null ? value != 0 : MacValue.Port(value) != meant.Port || MacValue.Flags(value) != meant.Flags || MacValue.LastSeen(value) != meant.LastSeen)
            {
                return $"step {step}, after {what}: find gives {value:x} and not {meant}";
            }
            if (step % 100 == 0)
            {
                if (!macs.List().OrderBy(KeyOf).SequenceEqual(model.Select(p => Listed(p.Key, p.Value)).OrderBy(KeyOf)))
                {
                    return $"step {step}, after {what}: the list differs";
                }
                if (!table.AllKeys().Order().SequenceEqual(model.Keys.Order()) || table.TakenSlots() != model.Count + graves.Count)
                {
                    return $"step {step}, after {what}: slots are lost or taken twice";
                }
                if (!table.FreeSlotsAreClean())
                {
                    return $"step {step}, after {what}: a free slot has a value";
                }
            }
        }
        return null;
    }

    private static LearnResult Learn(
        Dictionary<ulong, Entry> model, ulong key, ushort port, uint now, bool allowNew, bool hasRoomAfter, LearnResult actual, out ushort oldPort)
    {
        oldPort = 0;
        uint window = now / MacTable.FlapWindowSeconds;
        if (!model.TryGetValue(key, out Entry? e))
        {
            if (!allowNew)
            {
                return LearnResult.Refused;
            }
            // The last free slot may just have been taken; "full" with a free slot left is wrong.
            if (actual == LearnResult.Full)
            {
                return hasRoomAfter ? LearnResult.Learned : LearnResult.Full;
            }
            model[key] = new Entry(port, MacFlags.None, now, 0, 0);
            return LearnResult.Learned;
        }
        if ((e.Flags & MacFlags.Drop) != 0)
        {
            return LearnResult.BlackHole;
        }
        if ((e.Flags & MacFlags.Static) != 0)
        {
            return e.Port == port ? LearnResult.Known : LearnResult.StaticElsewhere;
        }
        if (e.Port == port)
        {
            model[key] = e with { LastSeen = now, Moves = e.Window == window ? e.Moves : 0 };
            return LearnResult.Known;
        }
        oldPort = e.Port;
        int moves = e.Window == window ? e.Moves + 1 : 1;
        model[key] = new Entry(port, MacFlags.None, now, window, Math.Min(moves, 15));
        return moves >= MacTable.FlapThreshold ? LearnResult.Flapping : LearnResult.Moved;
    }

    private static ulong KeyOf(MacEntry e) => MacTable.Key(e.Fid, e.Mac);

    private static MacEntry Listed(ulong key, Entry e) => new((ushort)(key >> 48), key & 0xFFFF_FFFF_FFFF, e.Port, e.Flags, e.LastSeen);
}
