namespace Dataplane.Tables;

/// <summary>One trie as its writer knows it: its root, and the prefixes in it, which the trie alone would not tell (a prefix may be
/// covered by longer ones in all of its addresses).</summary>
internal sealed class RouteTrie(bool is4)
{
    public bool Is4 { get; } = is4;

    /// <summary>What readers of the committed generation begin at.</summary>
    public uint Committed { get; set; }

    /// <summary>What they begin at after the next commit.</summary>
    public uint Root { get; set; }

    public Dictionary<RoutePrefix, uint> Prefixes { get; } = [];

    /// <summary>Whether there are changes that are not committed.</summary>
    public bool IsTouched { get; set; }

    /// <summary>
    /// The owner of the slots of a prefix when that prefix is not there: the longest shorter one that ends in the same node, or none.
    /// </summary>
    public uint CoveringOwner(RoutePrefix prefix)
    {
        int depthBits = 8 * prefix.LastByte;
        for (int bits = prefix.BitsInLastByte - 1; bits >= (depthBits == 0 ? 0 : 1); bits--)
        {
            if (Prefixes.TryGetValue(prefix.WithLength(depthBits + bits), out uint nextHop))
            {
                return RouteSlot.MakeOwner(nextHop, bits);
            }
        }
        return 0;
    }
}
