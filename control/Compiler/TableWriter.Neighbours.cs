using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

public sealed partial class TableWriter
{
    /// <summary>All neighbours that are wanted, and those in the table that are not.</summary>
    private CompiledNeighbours DifferingNeighbours(CompiledState state)
    {
        List<CompiledNeighbour> wanted = [.. state.Neighbours];
        HashSet<LinkAddress> addresses = [.. wanted.Select(n => n.Address)];
        return new CompiledNeighbours(wanted, [.. _segment.Neighbours.List()
            .Where(e => e.State == NeighbourState.Permanent)
            .Select(e => new LinkAddress((ushort)e.Key.Port, e.Key.IsIPv6, new UInt128(e.Key.High, e.Key.Low)))
            .Where(address => !addresses.Contains(address))]);
    }

    private int WriteNeighbours(CompiledNeighbours neighbours)
    {
        int changed = neighbours.Remove.Count(address => _writer.RemoveNeighbour(Key(address)));
        foreach (CompiledNeighbour neighbour in neighbours.Set)
        {
            NeighbourKey key = Key(neighbour.Address);
            ulong present = _segment.Neighbours.Find(in key);
            if (NeighbourValue.State(present) == NeighbourState.Permanent && NeighbourValue.Mac(present) == neighbour.Mac)
            {
                continue;
            }
            if (!_writer.SetNeighbour(in key, neighbour.Mac))
            {
                throw new TableFullException("the neighbour table has no room for another entry; start the daemon with a larger --neighbour-capacity");
            }
            changed++;
        }
        return changed;
    }

    /// <summary>Forgets what was learned on interfaces that are other ones now.</summary>
    private int FlushNeighbours(HashSet<int> interfaces) => interfaces.Count == 0
        ? 0
        : _writer.RemoveNeighbours((in NeighbourEntry entry, object? _) => entry.State != NeighbourState.Permanent && interfaces.Contains(entry.Key.Port));

    private NeighbourKey Key(LinkAddress address) => address.IsIPv6
        ? _segment.Neighbours.Key6(address.Port, (ulong)(address.Address >> 64), (ulong)address.Address)
        : NeighbourTable.Key4(address.Port, (uint)address.Address);
}
