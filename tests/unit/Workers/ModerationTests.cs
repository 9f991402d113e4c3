using Dataplane.Workers;

namespace Dataplane.UnitTests.Workers;

public sealed class ModerationTests
{
    private const ulong Millisecond = 2_600_000;

    /// <summary>Packets come in polls of so many, evenly, for three milliseconds.</summary>
    [Theory]
    [InlineData(100, 1, false)]
    [InlineData(240, 1, false)]
    [InlineData(240, 15, false)]
    [InlineData(255, 5, true)]
    [InlineData(1000, 1, true)]
    [InlineData(1000, 15, true)]
    [InlineData(1000, 16, false)] // they have gathered
    [InlineData(10_000, 64, false)]
    public void ManyThatComeInFewMayGather(int perMillisecond, int atOnce, bool expected)
    {
        var moderation = new Moderation(Millisecond);
        bool early = false;
        ulong step = Millisecond * (ulong)atOnce / (ulong)perMillisecond;
        for (ulong now = Millisecond; now < 4 * Millisecond; now += step)
        {
            early = moderation.IsEarly(atOnce, now);
        }
        Assert.Equal(expected, early);
    }

    [Fact]
    public void AfterAPauseTheRateIsUnknown()
    {
        var moderation = new Moderation(Millisecond);
        ulong now = Millisecond;
        for (int i = 0; i < 3000; i++)
        {
            moderation.IsEarly(1, now += Millisecond / 1000);
        }
        Assert.True(moderation.IsEarly(1, now));
        Assert.False(moderation.IsEarly(1, now + (10 * Millisecond)));
    }

    /// <summary>One poll that finds many is a burst, not a rate.</summary>
    [Fact]
    public void ABurstIsNoRate()
    {
        var moderation = new Moderation(Millisecond);
        ulong now = 5 * Millisecond;
        Assert.False(moderation.IsEarly(64, now));
        for (int i = 0; i < 100; i++)
        {
            Assert.False(moderation.IsEarly(1, now += Millisecond / 10));
        }
    }
}
