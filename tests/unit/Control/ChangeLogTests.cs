using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;

namespace Dataplane.UnitTests.Control;

/// <summary>What watchers get, when they are slow, and where they can go on.</summary>
public sealed class ChangeLogTests
{
    [Fact]
    public async Task AWatcherGetsChangesInOrder()
    {
        var log = new ChangeLog(firstRevision: 5);
        using ChangeLog.Watcher watcher = log.Watch(All);
        log.Publish([Change(6), Change(6)]);
        log.Publish([Change(7)]);
        Assert.Equal([6ul, 6, 7], await Take(watcher, 3));
    }

    [Fact]
    public async Task ASlowWatcherIsCutOffAndTheOthersAreNot()
    {
        var log = new ChangeLog(0, buffered: 4);
        using ChangeLog.Watcher slow = log.Watch(All);
        for (ulong i = 1; i <= 4; i++)
        {
            log.Publish([Change(i)]);
        }
        using ChangeLog.Watcher late = log.Watch(All);
        log.Publish([Change(5)]);
        log.Publish([Change(6)]);

        var seen = new List<ulong>();
        SlowWatcherException error = await Assert.ThrowsAsync<SlowWatcherException>(async () =>
        {
            await foreach (WatchEvent change in slow.Changes(CancellationToken.None))
            {
                seen.Add(change.Revision);
            }
        });
        Assert.Contains("list again", error.Message, StringComparison.Ordinal);
        Assert.Equal([1ul, 2, 3, 4], seen);
        Assert.Equal([5ul, 6], await Take(late, 2));
    }

    [Theory]
    [InlineData(4, false, null)] // before the log began
    [InlineData(5, true, "6 7")]
    [InlineData(6, true, "6 7")]
    [InlineData(7, true, "7")]
    [InlineData(8, false, null)] // from a life before this one
    public void AWatcherGoesOnFromARevision(ulong from, bool possible, string? missed)
    {
        var log = new ChangeLog(firstRevision: 5);
        log.Publish([Change(6), Change(7)]);
        using ChangeLog.Watcher? watcher = log.WatchFrom(from, current: 7, All);
        Assert.Equal(possible, watcher is not null);
        Assert.Equal(missed, watcher is null ? null : string.Join(' ', watcher.Missed.Select(c => c.Revision)));
    }

    [Fact]
    public void OnlyTheRecentIsRemembered()
    {
        var log = new ChangeLog(0, remembered: 3);
        log.Publish([Change(1), Change(2), Change(3), Change(4), Change(5)]);
        Assert.Null(log.WatchFrom(2, current: 5, All));
        using ChangeLog.Watcher? watcher = log.WatchFrom(3, current: 5, All);
        Assert.Equal([3ul, 4, 5], watcher!.Missed.Select(c => c.Revision));
    }

    [Fact]
    public async Task EventsHaveNumbersAndFollowersGetThem()
    {
        var log = new EventLog(new ManualTime(), remembered: 2);
        for (int i = 0; i < 3; i++)
        {
            log.Add(new Event { Text = $"{i}" });
        }
        Assert.Equal([2ul, 3], log.Recent().Select(e => e.Sequence));
        using var cancel = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        var seen = new List<string>();
        await foreach (Event happened in log.Follow(cancel.Token))
        {
            seen.Add(happened.Text);
            if (seen.Count == 2)
            {
                log.Add(new Event { Text = "3" });
            }
            if (seen.Count == 3)
            {
                break;
            }
        }
        Assert.Equal(["1", "2", "3"], seen);
    }

    [Fact]
    public async Task ABatchLargerThanABufferReachesWhoHasNothingLeftToRead()
    {
        var log = new ChangeLog(0, buffered: 2);
        using ChangeLog.Watcher ready = log.Watch(All), behind = log.Watch(All), other = log.Watch(c => c.Revision > 9);
        log.Publish([Change(1)]);
        Assert.Equal([1ul], await Take(ready, 1));
        log.Publish([Change(2), Change(2), Change(2)]);
        Assert.Equal([2ul, 2, 2], await Take(ready, 3));
        await Assert.ThrowsAsync<SlowWatcherException>(() => Take(behind, 2));
        // What a watcher does not want to see takes no room in its buffer.
        log.Publish([Change(10), Change(11)]);
        Assert.Equal([10ul, 11], await Take(other, 2));
    }

    private static bool All(WatchEvent change) => true;

    private static WatchEvent Change(ulong revision) => new() { Revision = revision };

    private static async Task<List<ulong>> Take(ChangeLog.Watcher watcher, int count)
    {
        using var cancel = new CancellationTokenSource(TimeSpan.FromSeconds(10));
        var seen = new List<ulong>();
        await foreach (WatchEvent change in watcher.Changes(cancel.Token))
        {
            seen.Add(change.Revision);
            if (seen.Count == count)
            {
                break;
            }
        }
        return seen;
    }
}
