using Dataplane.Workers;

namespace Dataplane.UnitTests.Workers;

public sealed class QueueBalanceTests
{
    /// <summary>Loads of the workers; queues as "worker:load"; what goes where, or nothing.</summary>
    [Theory]
    [InlineData("0.9 0.1", "0:0.5 0:0.4 1:0.1", "1>1")]           // of two, the one that comes closest to the middle
    [InlineData("0.9 0.1", "0:0.9 1:0.1", "")]                    // one queue alone: it would only be busy elsewhere
    [InlineData("0.5 0.0", "0:0.25 0:0.25", "")]                  // nobody is busy
    [InlineData("0.9 0.7", "0:0.45 0:0.45 1:0.7", "")]            // both are
    [InlineData("0.1 0.9", "1:0.3 1:0.3 1:0.3 0:0.1", "0>0")]
    [InlineData("0.9 0.5 0.1", "0:0.3 0:0.6 1:0.5 2:0.1", "0>2")] // from the busiest to the idlest
    [InlineData("0.9 0.1", "0:0.0 0:0.9 1:0.1", "")]              // a queue without packets helps nobody
    [InlineData("0.9", "0:0.5 0:0.4", "")]                        // a worker alone
    public void TheQueueThatBringsLoadsClosest(string loads, string queues, string expected)
    {
        QueueLoad[] all = [.. queues.Split(' ').Select((text, i) => new QueueLoad(i, 0, text[0] - '0', Number(text[2..])))];
        (QueueLoad Queue, int Worker)? choice = QueueBalance.Choose([.. loads.Split(' ').Select(Number)], all);
        Assert.Equal(expected, choice is var (queue, worker) ? $"{queue.Port}>{worker}" : "");
    }

    private static double Number(string text) => double.Parse(text, System.Globalization.CultureInfo.InvariantCulture);
}
