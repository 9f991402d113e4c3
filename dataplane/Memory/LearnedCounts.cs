using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>
/// How many addresses each port and bridge has learned. Changed with atomic additions, only when an entry comes, goes or
/// moves; packets of known addresses never touch them.
/// </summary>
public static unsafe class LearnedCounts
{
    public static void Add(Segment segment, int port, int bridge)
    {
        Interlocked.Increment(ref segment.PortRuntime[port].Learned);
        Interlocked.Increment(ref segment.BridgeRuntime[bridge].Learned);
    }

    public static void Move(Segment segment, int from, int to)
    {
        if ((uint)from < (uint)segment.MaxPorts)
        {
            Interlocked.Decrement(ref segment.PortRuntime[from].Learned);
        }
        Interlocked.Increment(ref segment.PortRuntime[to].Learned);
    }

    /// <summary>An entry is gone. Static entries were never counted.</summary>
    public static void Remove(Segment segment, MacEntry entry) => Remove(segment, entry, Fids.BridgeOf(segment, entry.Fid));

    /// <summary>As <see cref="Remove(Segment, MacEntry)"/>, where the caller knows the bridge better; 0 for none.</summary>
    public static void Remove(Segment segment, MacEntry entry, int bridge)
    {
        if (entry.Flags != MacFlags.None)
        {
            return;
        }
        if (entry.Port < segment.MaxPorts)
        {
            Interlocked.Decrement(ref segment.PortRuntime[entry.Port].Learned);
        }
        if (bridge != 0)
        {
            Interlocked.Decrement(ref segment.BridgeRuntime[bridge].Learned);
        }
    }

    /// <summary>Counts anew from the table: after a crash in the midst of a change. Only while no worker runs.</summary>
    public static void Recount(Segment segment)
    {
        for (int i = 0; i < segment.MaxPorts; i++)
        {
            segment.PortRuntime[i].Learned = 0;
        }
        for (int i = 0; i < segment.MaxBridges; i++)
        {
            segment.BridgeRuntime[i].Learned = 0;
        }
        foreach (MacEntry entry in segment.Macs.List())
        {
            if (entry.Flags != MacFlags.None)
            {
                continue;
            }
            // Whatever Remove will take off, also that of an address whose bridge or port is gone.
            if (entry.Port < segment.MaxPorts)
            {
                segment.PortRuntime[entry.Port].Learned++;
            }
            int bridge = Fids.BridgeOf(segment, entry.Fid);
            if (bridge != 0)
            {
                segment.BridgeRuntime[bridge].Learned++;
            }
        }
    }
}
