using System.Runtime.InteropServices;

namespace Dataplane.Tables;

/// <summary>
/// The lives of sets of backends across commits, for the one writer of a segment. A set is made within a commit; frontends that lead
/// to it count as its users, and when the last one has gone, it is free again after the grace period (<see cref="Reclaim"/>). One
/// that got no user until the commit is gone with it.
/// </summary>
internal sealed unsafe class BackendSetWriter
{
    private readonly BackendArena _arena;
    private readonly Dictionary<uint, int> _users = [];
    private readonly List<uint> _fresh = [];
    private readonly List<uint> _graves = [];

    /// <param name="arena">Memory of the sets, aligned to a cache line.</param>
    /// <param name="length">Its length in bytes.</param>
    /// <param name="sets">The set of each frontend that readers may be using; 0 for none.</param>
    /// <exception cref="InvalidDataException">They are no sets that a writer has made.</exception>
    public BackendSetWriter(byte* arena, ulong length, IEnumerable<uint> sets)
    {
        _arena = new BackendArena(arena, length);
        foreach (uint set in sets)
        {
            if (set == 0)
            {
                continue;
            }
            if (Use(set) == 1 && !Mark(set))
            {
                throw new InvalidDataException($"the set of backends {set} lies outside of the memory for it, or in another one");
            }
        }
        _arena.Seal();
    }

    /// <summary>Bytes of all sets, with those that are not free yet.</summary>
    public long UsedBytes => _arena.UsedBytes;

    /// <summary>For tests: see <see cref="BackendArena.Poison"/>.</summary>
    internal bool Poison
    {
        set => _arena.Poison = value;
    }

    /// <summary>Makes a set. Gives what <see cref="Memory.FrontendRecord.Set"/> names it by.</summary>
    /// <exception cref="ArgumentException">It has no members, too many, or none with a weight.</exception>
    /// <exception cref="BackendMemoryException">No room. The commit has to be abandoned.</exception>
    public uint Add(ReadOnlySpan<BackendMember> members, bool maglev)
    {
        bool weighs = false;
        foreach (BackendMember member in members)
        {
            weighs |= member.Weight != 0;
        }
        if (!weighs || members.Length > BackendSet.MemberLimit)
        {
            throw new ArgumentException($"a set has 1 to {BackendSet.MemberLimit} members, and one of them a weight", nameof(members));
        }
        uint set = _arena.Allocate(BackendSet.SizeOf(members.Length));
        uint table = 0;
        try
        {
            table = maglev ? _arena.Allocate(BackendSet.TableBytes) : 0;
        }
        catch (BackendMemoryException)
        {
            _arena.Free(set, BackendSet.SizeOf(members.Length));
            throw;
        }
        BackendSet.Write(_arena.At(set), members, table, (ushort*)_arena.At(table));
        _fresh.Add(set);
        return set;
    }

    /// <summary>With a commit: a frontend leads to another set than before. 0 for none.</summary>
    public void Change(uint before, uint after)
    {
        if (before == after)
        {
            return;
        }
        if (after != 0)
        {
            Use(after);
        }
        if (before != 0 && --CollectionsMarshal.GetValueRefOrNullRef(_users, before) == 0)
        {
            _users.Remove(before);
            _graves.Add(before);
        }
    }

    /// <summary>After all of a commit's changes.</summary>
    public void Commit()
    {
        foreach (uint set in _fresh)
        {
            if (!_users.ContainsKey(set))
            {
                Free(set);
            }
        }
        Empty(_fresh);
    }

    /// <summary>Frees what commits have put out of use: no reader uses it any more.</summary>
    public void Reclaim()
    {
        _graves.ForEach(Free);
        Empty(_graves);
    }

    /// <summary>Takes back the sets made since the last commit.</summary>
    public void Abandon()
    {
        _fresh.ForEach(Free);
        Empty(_fresh);
    }

    private int Use(uint set) => ++CollectionsMarshal.GetValueRefOrAddDefault(_users, set, out _);

    private bool Mark(uint set)
    {
        if (!_arena.Contains(set) || !_arena.Mark(set, _arena.At(set)->Length))
        {
            return false;
        }
        uint table = _arena.At(set)->Table;
        return table == 0 || _arena.Mark(table, BackendSet.TableBytes);
    }

    private void Free(uint set)
    {
        BackendSet header = *_arena.At(set);
        if (header.Table != 0)
        {
            _arena.Free(header.Table, BackendSet.TableBytes);
        }
        _arena.Free(set, header.Length);
    }

    /// <summary>The room of a very large commit is not kept for the small ones that follow.</summary>
    private static void Empty(List<uint> list)
    {
        list.Clear();
        if (list.Capacity > 1 << 16)
        {
            list.Capacity = 0;
        }
    }
}
