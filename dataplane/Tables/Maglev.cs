namespace Dataplane.Tables;

/// <summary>
/// Consistent hashing of Maglev (Eisenbud et al., NSDI 2016, 3.4): a table of a prime number of entries, which backends fill by turns,
/// each in the order of a permutation of its own. Every backend has its share to within one entry, and a backend that comes or goes
/// moves few connections between others. The tables of two nodes are alike, as they depend on the backends alone.
/// <para>
/// Weights: in each round a backend has as many turns as its weight is of the largest one, the fractions saved up.
/// </para>
/// </summary>
public static class Maglev
{
    /// <summary>Entries of a table; the paper's small size, prime.</summary>
    public const int Size = 65_537;

    private const ushort Free = ushort.MaxValue;

    /// <summary>Fills a table with indexes into <paramref name="members"/>.</summary>
    /// <param name="members">At least one of them with a weight, and fewer than 65,535.</param>
    /// <param name="table"><see cref="Size"/> entries.</param>
    public static void Fill(ReadOnlySpan<BackendMember> members, Span<ushort> table)
    {
        table.Fill(Free);
        // The order of turns must not depend on that of the list, which differs between nodes.
        int[] order = Order(members);
        var next = new int[members.Length];
        var skip = new int[members.Length];
        var turns = new uint[members.Length];
        uint most = 0;
        foreach (int i in order)
        {
            ulong hash = KeyHash.Mix(members[i].Identity ^ KeyHash.Golden, 0xD6E8_FEB8_6659_FD93);
            next[i] = (int)((uint)hash % Size);
            skip[i] = (int)((uint)(hash >> 32) % (Size - 1)) + 1;
            most = Math.Max(most, members[i].Weight);
        }
        for (int filled = 0; ;)
        {
            foreach (int i in order)
            {
                turns[i] += members[i].Weight;
                if (turns[i] < most)
                {
                    continue;
                }
                turns[i] -= most;
                int at = next[i];
                while (table[at] != Free)
                {
                    at = Step(at, skip[i]);
                }
                table[at] = (ushort)i;
                next[i] = Step(at, skip[i]);
                if (++filled == Size)
                {
                    return;
                }
            }
        }
    }

    private static int Step(int at, int skip) => at + skip >= Size ? at + skip - Size : at + skip;

    /// <summary>Members that have a weight, by identity.</summary>
    private static int[] Order(ReadOnlySpan<BackendMember> members)
    {
        var order = new List<int>(members.Length);
        var identities = new ulong[members.Length];
        for (int i = 0; i < members.Length; i++)
        {
            identities[i] = members[i].Identity;
            if (members[i].Weight != 0)
            {
                order.Add(i);
            }
        }
        if (order.Count == 0)
        {
            throw new ArgumentException("no member has a weight", nameof(members));
        }
        order.Sort((a, b) => identities[a].CompareTo(identities[b]));
        return [.. order];
    }
}
