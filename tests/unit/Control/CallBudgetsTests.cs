using System.Threading.RateLimiting;
using Dataplane.Control.Api.Access;

namespace Dataplane.UnitTests.Control;

public sealed class CallBudgetsTests
{
    private static readonly CallLimits s_limits = new() { ChangesPerSecond = 10, ChangesAtOnce = 3, Streams = 2 };

    private static Caller Named(string name) => new(name, Role.ReadWrite, "");

    [Fact]
    public void Each_caller_may_make_so_many_changes_at_once_and_is_told_when_to_come_again()
    {
        var budgets = new CallBudgets(s_limits);
        for (int i = 0; i < 3; i++)
        {
            Assert.True(budgets.TakeChange(Named("a")).IsAcquired);
        }
        // One comes every tenth of a second.
        RateLimitLease refused = budgets.TakeChange(Named("a"));
        while (refused.IsAcquired)
        {
            refused = budgets.TakeChange(Named("a"));
        }
        Assert.True(refused.TryGetMetadata(MetadataName.RetryAfter, out TimeSpan later) && later > TimeSpan.Zero);
        Assert.True(budgets.TakeChange(Named("b")).IsAcquired);
    }

    [Fact]
    public async Task Who_waits_gets_what_comes_with_time()
    {
        var budgets = new CallBudgets(s_limits);
        for (int i = 0; i < 5; i++)
        {
            await budgets.WaitForChangeAsync(Named("a"), CancellationToken.None);
        }
        using var never = new CancellationTokenSource(TimeSpan.FromMilliseconds(1));
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            while (true)
            {
                await budgets.WaitForChangeAsync(Named("a"), never.Token);
            }
        });
    }

    [Fact]
    public void A_stream_that_ends_makes_room_for_another()
    {
        var budgets = new CallBudgets(s_limits);
        using RateLimitLease first = budgets.TakeStream(Named("a")), second = budgets.TakeStream(Named("a"));
        Assert.True(first.IsAcquired && second.IsAcquired);
        Assert.False(budgets.TakeStream(Named("a")).IsAcquired);
        first.Dispose();
        Assert.True(budgets.TakeStream(Named("a")).IsAcquired);
    }

    [Fact]
    public void Who_is_gone_is_forgotten_and_who_is_not_is_not()
    {
        const int Saved = 10_000;
        var budgets = new CallBudgets(s_limits with { ChangesAtOnce = Saved }, memory: TimeSpan.Zero);
        using RateLimitLease open = budgets.TakeStream(Named("has a stream"));
        Assert.Equal(Saved, Enumerable.Range(0, Saved).Count(_ => budgets.TakeChange(Named("has spent all")).IsAcquired));
        for (int i = 0; i < 1000; i++)
        {
            budgets.TakeStream(Named($"passes by {i}")).Dispose();
        }
        Assert.InRange(budgets.Callers, 3, 10);
        // What has come since is less than what a new caller has.
        Assert.InRange(Enumerable.Range(0, Saved).Count(_ => budgets.TakeChange(Named("has spent all")).IsAcquired), 0, Saved / 2);
        Assert.True(budgets.TakeStream(Named("has a stream")).IsAcquired);
        Assert.False(budgets.TakeStream(Named("has a stream")).IsAcquired);
    }
}
