using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>Prefixes that do not overlap one another, in order, so that one more is compared with two of them and not with all.</summary>
internal sealed class PrefixSet
{
    private readonly SortedSet<(bool IPv6, UInt128 First, UInt128 Last, int Length)> _prefixes = [];

    /// <summary>A prefix of the set that has an address in common with another one.</summary>
    public Cidr? FindOverlapping(Cidr other)
    {
        (UInt128 first, UInt128 last) = other.Range;
        // Of those that begin no later than the other one ends, the last.
        (bool, UInt128, UInt128, int) low = (other.IsIPv6, 0, 0, 0), high = (other.IsIPv6, last, UInt128.MaxValue, int.MaxValue);
        (bool IPv6, UInt128 First, UInt128 Last, int Length) near = _prefixes.GetViewBetween(low, high).Max;
        return near.Length > 0 && near.Last >= first ? new Cidr(Addresses.FromNumber(near.First, other.Bits), near.Length) : null;
    }

    public void Add(Cidr prefix)
    {
        (UInt128 first, UInt128 last) = prefix.Range;
        _prefixes.Add((prefix.IsIPv6, first, last, prefix.Length));
    }
}
