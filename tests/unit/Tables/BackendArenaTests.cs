using System.Runtime.InteropServices;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>The arena of backend sets against a map of who owns which unit.</summary>
public sealed unsafe class BackendArenaTests : IDisposable
{
    private const int Length = 1 << 20;
    private const int Units = Length / BackendSet.Unit;

    private readonly byte* _memory = (byte*)NativeMemory.AlignedAlloc(Length, 64);

    public void Dispose() => NativeMemory.AlignedFree(_memory);

    private BackendArena Empty()
    {
        var arena = new BackendArena(_memory, Length);
        arena.Seal();
        return arena;
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void No_run_overlaps_another_and_what_is_freed_can_be_had_again(int seed)
    {
        var random = new Random(seed);
        BackendArena arena = Empty();
        var owner = new int[Units];
        var runs = new Dictionary<uint, int>();
        for (int i = 1; i < 20_000; i++)
        {
            if (random.Next(2) == 0 || runs.Count == 0)
            {
                int bytes = random.Next(10) == 0 ? random.Next(1, 140_000) : random.Next(1, 1000);
                try
                {
                    uint unit = arena.Allocate(bytes);
                    Assert.NotEqual(0u, unit);
                    Span<int> mine = owner.AsSpan((int)unit, (bytes + 63) / 64);
                    Assert.Equal(-1, mine.IndexOfAnyExcept(0));
                    mine.Fill(i);
                    runs.Add(unit, bytes);
                }
                catch (BackendMemoryException)
                {
                    // A large run needs a large block; a small one finds room as long as there is some.
                    Assert.True(bytes > 1000 || arena.UsedBytes > Length / 2, $"{arena.UsedBytes} of {Length} bytes used, and no room for {bytes}");
                }
            }
            else
            {
                (uint unit, int bytes) = runs.ElementAt(random.Next(runs.Count));
                owner.AsSpan((int)unit, (bytes + 63) / 64).Clear();
                arena.Free(unit, bytes);
                runs.Remove(unit);
            }
            if (i % 500 == 0)
            {
                Assert.Equal(64L * owner.Count(o => o != 0), arena.UsedBytes);
            }
        }
        foreach ((uint unit, int bytes) in runs)
        {
            arena.Free(unit, bytes);
        }
        // Joined to the largest blocks there are, as at the beginning: half of the arena is one of them.
        Assert.Equal(0, arena.UsedBytes);
        Assert.Equal((uint)Units / 2, arena.Allocate(Length / 2));
    }

    [Fact]
    public void All_of_it_but_one_unit_can_be_used()
    {
        BackendArena arena = Empty();
        for (int i = 1; i < Units; i++)
        {
            arena.Allocate(64);
        }
        Assert.Throws<BackendMemoryException>(() => arena.Allocate(64));
        arena.Free(77, 64);
        Assert.Equal(77u, arena.Allocate(1));
    }

    [Fact]
    public void What_is_marked_is_not_handed_out()
    {
        var arena = new BackendArena(_memory, Length);
        Assert.True(arena.Mark(100, 6400));
        Assert.False(arena.Mark(199, 64), "within the first one");
        Assert.True(arena.Mark(200, 1));
        Assert.False(arena.Mark(0, 64), "unit 0 is none");
        Assert.False(arena.Mark(Units - 1, 65), "beyond the end");
        Assert.False(arena.Mark(Units, 64), "beyond the end");
        arena.Seal();
        Assert.Equal(6400 + 64, arena.UsedBytes);
        for (int i = 0; i < Units - 1 - 101; i++)
        {
            Assert.False(arena.Allocate(64) is >= 100 and <= 200);
        }
        Assert.Throws<BackendMemoryException>(() => arena.Allocate(64));
    }
}
