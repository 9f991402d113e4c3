using System.Buffers.Binary;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Addresses that somebody numbered: machines of one vendor, a benchmark's, an attacker's. A table takes half as many of them as it has
/// slots, whatever the step between two, as it takes random ones.
/// </summary>
public sealed class MacTableSpreadTests
{
    private const int Bits = 18, Slots = MacBucket.Ways << Bits;

    private static readonly ulong[] s_seeds = [1, 0x5DEE_CE66_D569_1234, 0xA24B_AED4_963E_E407];

    /// <param name="step">From one address to the next, the first byte on the wire being the lowest of the number.</param>
    /// <param name="bigEndian">The last byte on the wire is the lowest instead, as people count.</param>
    [Theory]
    [InlineData(0x0000_0000_0001, false)]
    [InlineData(0x0000_0000_0002, false)]
    [InlineData(0x0000_0000_0100, false)]
    [InlineData(0x0000_0001_0000, false)]
    [InlineData(0x0000_0100_0000, false)]
    [InlineData(0x0001_0000_0000, false)]
    [InlineData(0x0100_0000_0000, false)]
    [InlineData(0x0000_0001_0001, false)]
    [InlineData(0x0000_0000_0001, true)]
    [InlineData(0x0000_0000_0002, true)]
    [InlineData(0x0000_0000_0100, true)]
    [InlineData(0x0000_0001_0000, true)]
    [InlineData(0x0000_0100_0000, true)]
    [InlineData(0x0001_0000_0000, true)]
    [InlineData(0x0100_0000_0000, true)]
    [InlineData(0x0000_0001_0001, true)]
    public void Numbered_addresses_spread(ulong step, bool bigEndian)
    {
        foreach (ulong seed in s_seeds)
        {
            Fill(seed, i => Address(i, step, bigEndian));
        }
    }

    [Fact]
    public void Random_addresses_spread()
    {
        var random = new Random(1);
        HashSet<ulong> addresses = [];
        while (addresses.Count < Slots / 2)
        {
            addresses.Add((ulong)random.NextInt64(1L << 48));
        }
        ulong[] all = [.. addresses];
        foreach (ulong seed in s_seeds)
        {
            Fill(seed, i => all[i]);
        }
    }

    private static void Fill(ulong seed, Func<int, ulong> address)
    {
        using var table = new TestTable(Bits, seed);
        int full = 0;
        for (int i = 0; i < Slots / 2; i++)
        {
            full += table.Macs.Learn(MacTable.Key(1, address(i)), port: 1, now: 100, allowNew: true, out _) == LearnResult.Learned ? 0 : 1;
        }
        Assert.Equal(0, full);
    }

    /// <summary>A step that leads beyond the last address goes on at the first ones, one farther: all are different.</summary>
    private static ulong Address(int i, ulong step, bool bigEndian)
    {
        UInt128 product = (UInt128)(uint)i * step;
        ulong address = ((ulong)product + (ulong)(product >> 48)) & 0xFFFF_FFFF_FFFF;
        return bigEndian ? BinaryPrimitives.ReverseEndianness(address) >> 16 : address;
    }
}
