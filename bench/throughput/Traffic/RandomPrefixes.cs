using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>
/// Prefixes as routers of the Internet have them, random ones: of their lengths about as many as in its routing table, where most are
/// /24 (IPv4) and /48 (IPv6). The same ones in every run.
/// </summary>
public static class RandomPrefixes
{
    private const int Seed = 7454; // RFC 7454, which tells what has to be filtered

    // Of a hundred prefixes so many have this length.
    private static readonly (int Length, int Share)[] s_lengths4 = [(24, 60), (23, 10), (22, 11), (21, 5), (20, 5), (19, 4), (18, 2), (17, 1), (16, 2)];
    private static readonly (int Length, int Share)[] s_lengths6 = [(48, 48), (44, 11), (40, 11), (36, 6), (32, 15), (64, 9)];

    /// <summary>Unicast prefixes of which none is 0/8, 10/8, 127/8 or those of the benchmark's own links (192.0.2.0/24, 198.51.100.0/24).</summary>
    public static RoutePrefix[] Of4(int count) => Distinct(count, random =>
    {
        int length = Draw(s_lengths4, random);
        uint address;
        do
        {
            address = (uint)random.NextInt64(1L << 24, 224L << 24);
        }
        while (address >> 24 is 10 or 127 or 192 or 198);
        return RoutePrefix.Of4(address, length);
    });

    /// <summary>Prefixes of 2000::/3 but 2001:db8::/32, where the benchmark's own links are.</summary>
    public static RoutePrefix[] Of6(int count) => Distinct(count, random =>
    {
        int length = Draw(s_lengths6, random);
        ulong address;
        do
        {
            address = (1ul << 61) | ((ulong)random.NextInt64() >> 2);
        }
        while (address >> 32 == 0x2001_0DB8);
        return RoutePrefix.Of6(address, 0, length);
    });

    private static RoutePrefix[] Distinct(int count, Func<Random, RoutePrefix> make)
    {
        var random = new Random(Seed);
        var found = new HashSet<RoutePrefix>(count);
        while (found.Count < count)
        {
            found.Add(make(random));
        }
        return [.. found];
    }

    private static int Draw((int Length, int Share)[] lengths, Random random)
    {
        int number = random.Next(100);
        foreach ((int length, int share) in lengths)
        {
            if ((number -= share) < 0)
            {
                return length;
            }
        }
        return lengths[0].Length;
    }
}
