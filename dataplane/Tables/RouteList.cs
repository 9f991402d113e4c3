using System.Collections;
using System.Diagnostics.CodeAnalysis;

namespace Dataplane.Tables;

/// <summary>
/// The routes of one VRF and family as they are after the next commit: prefixes and their next hops, in no particular order. It is
/// the table itself that is asked, there is no other list of them; who changes routes while going through them goes through the old ones.
/// </summary>
public sealed class RouteList : IReadOnlyDictionary<RoutePrefix, uint>
{
    private readonly RouteTrie _trie;

    internal RouteList(RouteTrie trie, uint root)
    {
        _trie = trie;
        Root = Committed = root;
    }

    public int Count => _trie.Count(Root);

    public IEnumerable<RoutePrefix> Keys => this.Select(route => route.Key);

    public IEnumerable<uint> Values => this.Select(route => route.Value);

    /// <summary>What readers of the committed generation begin at.</summary>
    internal uint Committed { get; private set; }

    /// <summary>What they begin at after the next commit.</summary>
    internal uint Root { get; set; }

    public uint this[RoutePrefix key] => TryGetValue(key, out uint nextHop)
        ? nextHop : throw new KeyNotFoundException($"there is no route {key}");

    public bool ContainsKey(RoutePrefix key) => TryGetValue(key, out _);

    public bool TryGetValue(RoutePrefix key, [MaybeNullWhen(false)] out uint value)
    {
        value = _trie.Get(Root, key);
        return value != 0;
    }

    public IEnumerator<KeyValuePair<RoutePrefix, uint>> GetEnumerator()
    {
        var all = new List<KeyValuePair<RoutePrefix, uint>>(Count);
        _trie.Visit(Root, all);
        return all.GetEnumerator();
    }

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    internal void Commit() => Committed = Root;

    internal void Abandon() => Root = Committed;
}
