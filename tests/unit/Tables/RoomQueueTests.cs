using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

public sealed class RoomQueueTests
{
    private const uint Second = 70_000;

    private static ulong Life(uint n) => ((ulong)n << 2) | (ulong)ConnectionPhase.Valid;

    [Fact]
    public void The_oldest_comes_first()
    {
        var queue = new RoomQueue(8);
        for (uint i = 0; i < 5; i++)
        {
            queue.Push(100 + i, Life(i), Second);
        }
        Assert.Equal(5u, queue.Count);
        Assert.True(queue.TryPeek(2, out RoomQueue.Item third));
        Assert.Equal(102u, third.Index);
        Assert.False(queue.TryPeek(5, out _));
        for (uint i = 0; i < 5; i++)
        {
            Assert.True(queue.TryPop(out RoomQueue.Item item));
            Assert.Equal(100 + i, item.Index);
        }
        Assert.False(queue.TryPop(out _));
        Assert.Equal(0u, queue.Count);
    }

    [Fact]
    public void When_there_are_too_many_the_oldest_are_forgotten()
    {
        var queue = new RoomQueue(8);
        for (uint i = 0; i < 1000; i++)
        {
            queue.Push(i, Life(i), Second);
        }
        Assert.Equal(8u, queue.Count);
        Assert.True(queue.TryPop(out RoomQueue.Item item));
        Assert.Equal(992u, item.Index);
    }

    [Fact]
    public void One_that_holds_none_is_told_things_all_the_same()
    {
        var queue = new RoomQueue(0);
        queue.Push(1, Life(1), Second);
        queue.Push(2, Life(2), Second);
        Assert.InRange(queue.Count, 0u, 1u);
    }

    [Fact]
    public void An_item_knows_the_life_and_the_second_that_it_is_of()
    {
        var queue = new RoomQueue(8);
        queue.Push(uint.MaxValue, Life(0x2FFF_FFFF) | (0xFFFFul << 32), Second);
        Assert.True(queue.TryPop(out RoomQueue.Item item));
        Assert.Equal(uint.MaxValue, item.Index);
        Assert.True(item.IsOf(Life(0x2FFF_FFFF)));
        Assert.False(item.IsOf(Life(0x2FFF_FFFE)));
        Assert.False(item.IsOlderThan(Second));
        Assert.True(item.IsOlderThan(Second + 1));
    }
}
