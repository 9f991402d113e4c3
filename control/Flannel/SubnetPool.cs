using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>The subnets of one address family that nodes may lease: those of one length, from the first to the last.</summary>
/// <param name="Network">Prefix of the whole flannel network.</param>
/// <param name="SubnetLength">Length of every node's prefix.</param>
/// <param name="First">Address of the first subnet, as a number.</param>
/// <param name="Last">Address of the last subnet.</param>
internal sealed record SubnetPool(Cidr Network, int SubnetLength, UInt128 First, UInt128 Last)
{
    private UInt128 Size => UInt128.One << (Network.Bits - SubnetLength);

    /// <summary>How many there are.</summary>
    public UInt128 Count => ((Last - First) / Size) + 1;

    /// <summary>Whether a subnet is one that a node may lease.</summary>
    public bool Allows(Cidr subnet) =>
        subnet.Bits == Network.Bits && subnet.Length == SubnetLength && subnet.Address.Number is var number && number >= First && number <= Last;

    /// <summary>One of those that overlap nothing that is taken, each with the same probability; null when there is none.</summary>
    public Cidr? Choose(IEnumerable<Cidr> taken, Random random)
    {
        List<(UInt128 From, UInt128 To)> runs = Runs(taken);
        UInt128 free = Count;
        foreach ((UInt128 from, UInt128 to) in runs)
        {
            free -= to - from + 1;
        }
        if (free == 0)
        {
            return null;
        }
        // The chosen one among the free ones, moved behind every taken run before it.
        UInt128 slot = Below(free, random);
        foreach ((UInt128 from, UInt128 to) in runs)
        {
            if (slot < from)
            {
                break;
            }
            slot += to - from + 1;
        }
        return new Cidr(Addresses.FromNumber(First + (slot * Size), Network.Bits), SubnetLength);
    }

    /// <summary>The taken places, counted from the first subnet, as runs in order that do not touch twice.</summary>
    private List<(UInt128 From, UInt128 To)> Runs(IEnumerable<Cidr> taken)
    {
        UInt128 end = Last + (Size - 1);
        var runs = new List<(UInt128 From, UInt128 To)>();
        foreach ((UInt128 first, UInt128 last) in taken.Where(t => t.Bits == Network.Bits).Select(t => t.Range).Where(r => r.First <= end && r.Last >= First).Order())
        {
            UInt128 from = first <= First ? 0 : (first - First) / Size, to = (UInt128.Min(last, end) - First) / Size;
            if (runs.Count > 0 && from <= runs[^1].To)
            {
                runs[^1] = (runs[^1].From, UInt128.Max(runs[^1].To, to));
            }
            else
            {
                runs.Add((from, to));
            }
        }
        return runs;
    }

    private static UInt128 Below(UInt128 limit, Random random)
    {
        UInt128 mask = UInt128.MaxValue >> (int)UInt128.LeadingZeroCount(limit);
        while (true)
        {
            UInt128 number = new UInt128((ulong)random.NextInt64(long.MinValue, long.MaxValue), (ulong)random.NextInt64(long.MinValue, long.MaxValue)) & mask;
            if (number < limit)
            {
                return number;
            }
        }
    }
}
