using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Dataplane.Control.State;

/// <summary>
/// Resources by name, in the ordinal order of names. Immutable: a change makes another map, which shares all nodes but those on the way
/// to what changed. For the kinds that there may be a million of.
/// <para>
/// A B+ tree. Resources lie side by side in leaves of <see cref="Width"/>, so that there are a thirtieth of the objects that a binary tree
/// has for the garbage collector to mark, and names that come in order, as they do in bulk, are found in the leaf of the one before.
/// </para>
/// <para>
/// What it costs: a single change copies one node of each level, some 3 KiB among a million; of a batch every node is copied once.
/// Leaves that run empty are joined only when both fit into half of one.
/// </para>
/// </summary>
public sealed class NameMap<T> : IReadOnlyDictionary<string, T>
    where T : class
{
    /// <summary>Entries of a node.</summary>
    private const int Width = 32;

    private readonly Node _root;

    private NameMap(Node root, int count)
    {
        _root = root;
        Count = count;
    }

    public static NameMap<T> Empty { get; } = new(new Node(level: 0, owner: null), 0);

    public int Count { get; }

    public bool IsEmpty => Count == 0;

    public IEnumerable<string> Keys => NamesAfter("");

    public IEnumerable<T> Values => Entries("").Select(e => Unsafe.As<T>(e.Item));

    public T this[string key] => TryGetValue(key, out T? value) ? value : throw new KeyNotFoundException($"there is no \"{key}\"");

    public bool ContainsKey(string key) => TryGetValue(key, out _);

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out T value)
    {
        Node leaf = _root;
        while (leaf.Level > 0)
        {
            leaf = leaf.Child(leaf.Below(key));
        }
        return leaf.TryGetValue(key, out value);
    }

    /// <summary>Names that come behind one, in order.</summary>
    public IEnumerable<string> NamesAfter(string name) => Entries(name).Select(e => e.Name);

    public IEnumerator<KeyValuePair<string, T>> GetEnumerator() =>
        Entries("").Select(e => new KeyValuePair<string, T>(e.Name, Unsafe.As<T>(e.Item))).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Begins a change.</summary>
    public Editor Edit() => new(this);

    /// <summary>Those behind a name; no resource has the name "".</summary>
    private IEnumerable<Entry> Entries(string after)
    {
        var path = new Stack<(Node Branch, int Next)>();
        Node? node = _root;
        while (node is not null)
        {
            while (node.Level > 0)
            {
                int below = after.Length == 0 ? 0 : node.Below(after);
                path.Push((node, below + 1));
                node = node.Child(below);
            }
            int first = after.Length == 0 ? 0 : node.Behind(after);
            for (int i = first; i < node.Count; i++)
            {
                yield return node.Entries[i];
            }
            after = "";
            node = null;
            while (node is null && path.TryPop(out (Node Branch, int Next) up))
            {
                if (up.Next < up.Branch.Count)
                {
                    path.Push((up.Branch, up.Next + 1));
                    node = up.Branch.Child(up.Next);
                }
            }
        }
    }

    /// <summary>In a leaf a resource with its name; in a branch a node with a name that none in it comes before, which of the first one means nothing.</summary>
    private struct Entry
    {
        public string Name;
        public object Item;
    }

    /// <param name="level">0 of a leaf.</param>
    /// <param name="owner">What the editor has that may change it in place, if it is still at work.</param>
    private sealed class Node(int level, object? owner)
    {
        public readonly Entry[] Entries = new Entry[Width];
        public readonly object? Owner = owner;
        public readonly int Level = level;
        public int Count;

        public Node Child(int i) => Unsafe.As<Node>(Entries[i].Item);

        public bool TryGetValue(string name, [MaybeNullWhen(false)] out T value)
        {
            int i = Find(name);
            value = i >= 0 ? Unsafe.As<T>(Entries[i].Item) : null;
            return i >= 0;
        }

        /// <summary>Where a name is; where it would be, as its complement, when it is not there.</summary>
        public int Find(string name) => Find(name, low: 0);

        private int Find(string name, int low)
        {
            int high = Count - 1;
            while (low <= high)
            {
                int middle = (low + high) >>> 1;
                int order = string.CompareOrdinal(Entries[middle].Name, name);
                if (order == 0)
                {
                    return middle;
                }
                (low, high) = order < 0 ? (middle + 1, high) : (low, middle - 1);
            }
            return ~low;
        }

        /// <summary>Of a leaf the first entry behind a name.</summary>
        public int Behind(string name) => Find(name) is var i && i >= 0 ? i + 1 : ~i;

        /// <summary>Of a branch the child in which a name is, if it is anywhere.</summary>
        public int Below(string name) => Find(name, low: 1) is var i && i >= 0 ? i : ~i - 1;

        /// <summary>A node that an owner may change.</summary>
        public Node OwnedBy(object owner)
        {
            if (ReferenceEquals(Owner, owner))
            {
                return this;
            }
            var copy = new Node(Level, owner) { Count = Count };
            Entries.AsSpan(0, Count).CopyTo(copy.Entries);
            return copy;
        }

        /// <summary>Puts an entry in. Gives what a full node had to leave to another one behind it, or null.</summary>
        public Node? Insert(int at, in Entry entry)
        {
            if (Count < Width)
            {
                Entries.AsSpan(at, Count - at).CopyTo(Entries.AsSpan(at + 1));
                Entries[at] = entry;
                Count++;
                return null;
            }
            // What comes in order leaves full nodes behind it.
            int kept = at == Width ? Width : Width / 2;
            var rest = new Node(Level, Owner) { Count = Width - kept };
            Entries.AsSpan(kept).CopyTo(rest.Entries);
            Entries.AsSpan(kept).Clear();
            Count = kept;
            if (at <= kept && kept < Width)
            {
                Insert(at, in entry);
            }
            else
            {
                rest.Insert(at - kept, in entry);
            }
            return rest;
        }

        public void RemoveAt(int at)
        {
            Entries.AsSpan(at + 1, Count - at - 1).CopyTo(Entries.AsSpan(at));
            Entries[--Count] = default;
        }
    }

    /// <summary>A map in the making. Not for several threads.</summary>
    public sealed class Editor
    {
        private readonly NameMap<T> _before;

        /// <summary>Whose nodes may be changed in place. Not the editor itself, which would live as long as they do, and what was before with it.</summary>
        private object _owner = new();
        private Node _root;
        private int _count;

        /// <summary>Where the last look-up ended, and the name at which the next leaf begins; null behind the last one.</summary>
        private Node? _leaf;
        private string? _end;

        internal Editor(NameMap<T> before)
        {
            _before = before;
            _root = before._root;
            _count = before.Count;
        }

        public T? GetValueOrDefault(string name) => LeafOf(name).TryGetValue(name, out T? value) ? value : null;

        /// <summary>Adds a resource, or puts it in the place of the one of that name.</summary>
        public void Set(string name, T value)
        {
            Node leaf = LeafOf(name);
            if (ReferenceEquals(leaf.Owner, _owner) && leaf.Find(name) is var at && (at >= 0 || leaf.Count < Width))
            {
                PutInLeaf(leaf, at, name, value);
                return;
            }
            _leaf = null;
            if (Put(ref _root, name, value) is { } rest)
            {
                var root = new Node(_root.Level + 1, _owner);
                root.Insert(0, new Entry { Name = _root.Entries[0].Name, Item = _root });
                root.Insert(1, new Entry { Name = rest.Entries[0].Name, Item = rest });
                _root = root;
            }
        }

        public void Remove(string name)
        {
            if (!LeafOf(name).TryGetValue(name, out _))
            {
                return;
            }
            _leaf = null;
            Remove(ref _root, name);
            _count--;
            while (_root is { Level: > 0, Count: 1 })
            {
                _root = _root.Child(0);
            }
        }

        /// <summary>The map as it is now; the one before when nothing has changed.</summary>
        public NameMap<T> ToMap()
        {
            _owner = new object();
            return ReferenceEquals(_root, _before._root) ? _before : new NameMap<T>(_root, _count);
        }

        private Node LeafOf(string name)
        {
            if (_leaf is { Count: > 0 } known
                && string.CompareOrdinal(known.Entries[0].Name, name) <= 0 && (_end is null || string.CompareOrdinal(name, _end) < 0))
            {
                return known;
            }
            _end = null;
            Node node = _root;
            while (node.Level > 0)
            {
                int below = node.Below(name);
                if (below + 1 < node.Count)
                {
                    _end = node.Entries[below + 1].Name;
                }
                node = node.Child(below);
            }
            return _leaf = node;
        }

        private Node? PutInLeaf(Node leaf, int at, string name, T value)
        {
            if (at >= 0)
            {
                leaf.Entries[at] = new Entry { Name = name, Item = value };
                return null;
            }
            _count++;
            return leaf.Insert(~at, new Entry { Name = name, Item = value });
        }

        private Node? Put(ref Node node, string name, T value)
        {
            node = node.OwnedBy(_owner);
            if (node.Level == 0)
            {
                return PutInLeaf(node, node.Find(name), name, value);
            }
            int below = node.Below(name);
            Node child = node.Child(below);
            Node? rest = Put(ref child, name, value);
            node.Entries[below].Item = child;
            return rest is null ? null : node.Insert(below + 1, new Entry { Name = rest.Entries[0].Name, Item = rest });
        }

        private void Remove(ref Node node, string name)
        {
            node = node.OwnedBy(_owner);
            if (node.Level == 0)
            {
                node.RemoveAt(node.Find(name));
                return;
            }
            int below = node.Below(name);
            Node child = node.Child(below);
            Remove(ref child, name);
            node.Entries[below].Item = child;
            if (child.Count == 0)
            {
                node.RemoveAt(below);
            }
            else if (node.Count > 1)
            {
                Join(node, Math.Max(0, below - 1));
            }
        }

        /// <summary>Makes one of two children that are half empty.</summary>
        private void Join(Node node, int at)
        {
            Node left = node.Child(at), right = node.Child(at + 1);
            if (left.Count + right.Count > Width / 2)
            {
                return;
            }
            left = left.OwnedBy(_owner);
            Span<Entry> room = left.Entries.AsSpan(left.Count);
            right.Entries.AsSpan(0, right.Count).CopyTo(room);
            if (left.Level > 0)
            {
                // Of its first child the branch to the right knows no bound: its own is that.
                room[0].Name = node.Entries[at + 1].Name;
            }
            left.Count += right.Count;
            node.Entries[at].Item = left;
            node.RemoveAt(at + 1);
        }
    }
}
