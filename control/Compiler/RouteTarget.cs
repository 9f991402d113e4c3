using System.Collections.Immutable;
using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

/// <summary>A next hop among several.</summary>
/// <param name="Key">Which one.</param>
/// <param name="Weight">Its share in proportion to the others', from 1.</param>
public readonly record struct WeightedHop(HopKey Key, int Weight);

/// <summary>Where a route leads: to one next hop, or to one of several by the flow. Equal when the next hops are, in whatever order.</summary>
public sealed class RouteTarget : IEquatable<RouteTarget>
{
    private readonly ImmutableArray<WeightedHop> _members;

    /// <summary>One next hop.</summary>
    public RouteTarget(HopKey hop)
    {
        _members = [new WeightedHop(hop, 1)];
    }

    /// <summary>Several next hops, or one. The weights of one that is named more than once add up.</summary>
    public RouteTarget(IEnumerable<WeightedHop> members)
    {
        _members = [.. members.GroupBy(m => m.Key).Select(g => new WeightedHop(g.Key, g.Sum(m => m.Weight))).OrderBy(m => Rendezvous.Identity(m.Key))];
        if (_members.Length == 1)
        {
            _members = [new WeightedHop(_members[0].Key, 1)];
        }
    }

    public ImmutableArray<WeightedHop> Members => _members;

    /// <summary>Whether there is only one next hop, which needs no group.</summary>
    public bool IsSingle => _members.Length == 1;

    public bool Equals(RouteTarget? other) => other is not null && _members.AsSpan().SequenceEqual(other._members.AsSpan());

    public override bool Equals(object? obj) => Equals(obj as RouteTarget);

    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (WeightedHop member in _members)
        {
            hash.Add(member);
        }
        return hash.ToHashCode();
    }
}

/// <summary>
/// Which next hop of a group each of its buckets gets, by weighted rendezvous hashing (Thaler and Ravishankar 1998; weights as in
/// Schindelhauer and Schomaker 2005): every bucket takes the member that scores highest for it. A member that comes takes
/// buckets, and one that goes leaves buckets, but none moves between two others. The score depends on what the member is, not
/// on its place or number, so every process and every node with the same members fills a group in the same way.
/// </summary>
public static class Rendezvous
{
    /// <summary>The member of each bucket.</summary>
    public static HopKey[] Fill(RouteTarget target)
    {
        var buckets = new HopKey[NextHopGroup.Buckets];
        for (int bucket = 0; bucket < buckets.Length; bucket++)
        {
            double best = double.NegativeInfinity;
            foreach (WeightedHop member in target.Members)
            {
                // -w / ln(u) for a uniform u in (0, 1).
                ulong hash = Mix(Identity(member.Key) + ((ulong)(bucket + 1) * 0x9E37_79B9_7F4A_7C15));
                double score = -member.Weight / Math.Log(((hash >> 11) + 0.5) / (1ul << 53));
                if (score > best)
                {
                    best = score;
                    buckets[bucket] = member.Key;
                }
            }
        }
        return buckets;
    }

    /// <summary>A number made of all that tells a next hop from others.</summary>
    internal static ulong Identity(HopKey key) =>
        Mix(Mix(Mix(((ulong)key.Kind << 16) | key.Port) ^ key.Gateway.High) ^ key.Gateway.Low);

    /// <summary>The finaliser of SplitMix64 (Steele, Lea and Flood 2014).</summary>
    private static ulong Mix(ulong value)
    {
        value += 0x9E37_79B9_7F4A_7C15;
        value = (value ^ (value >> 30)) * 0xBF58_476D_1CE4_E5B9;
        value = (value ^ (value >> 27)) * 0x94D0_49BB_1331_11EB;
        return value ^ (value >> 31);
    }
}
