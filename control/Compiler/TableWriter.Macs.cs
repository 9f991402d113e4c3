using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

public sealed partial class TableWriter
{
    /// <summary>Addresses whose buckets are on their way to the cache.</summary>
    private const int Ahead = 8;

    /// <summary>All static entries that are wanted, and those in the table that are not.</summary>
    private CompiledMacs DifferingMacs(CompiledState state)
    {
        List<CompiledMac> wanted = [.. state.StaticMacs];
        HashSet<ulong> keys = [.. wanted.Select(m => m.Key)];
        return new CompiledMacs(wanted, [.. _segment.Macs.List()
            .Where(e => (e.Flags & MacFlags.Static) != 0)
            .Select(e => MacTable.Key(e.Fid, e.Mac))
            .Where(key => !keys.Contains(key))]);
    }

    private unsafe int WriteStaticMacs(CompiledMacs macs)
    {
        int changed = macs.Remove.Count(_writer.RemoveMac);
        for (int i = 0; i < macs.Set.Count; i++)
        {
            // In a large table every address is a miss of the cache: those to come are asked for meanwhile.
            if (i + Ahead < macs.Set.Count)
            {
                MacTable.Prefetch(_segment.Macs.Bucket(macs.Set[i + Ahead].Key));
            }
            CompiledMac mac = macs.Set[i];
            ulong present = _segment.Macs.Find(mac.Key);
            if (present != 0 && MacValue.Port(present) == mac.Port && MacValue.Flags(present) == mac.Flags)
            {
                continue;
            }
            if (!_writer.SetStaticMac(mac.Key, mac.Port, mac.Flags))
            {
                throw new TableFullException("the MAC table has no room for another static entry; start the daemon with a larger --mac-capacity");
            }
            changed++;
        }
        return changed;
    }
}
