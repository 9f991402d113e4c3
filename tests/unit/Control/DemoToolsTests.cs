using Dataplane.Control.Demo;

namespace Dataplane.UnitTests.Control;

/// <summary>What the demos read in the output of the programs that they run.</summary>
public sealed class DemoToolsTests
{
    [Theory]
    [InlineData("all are answered", new[] { 1, 2, 3 }, null)]
    [InlineData("the last one so late that a fourth was sent", new[] { 1, 2, 3, 4 }, null)]
    [InlineData("one is lost, and another was sent instead", new[] { 1, 3, 4 }, "2 of 3 answered")]
    [InlineData("one is answered twice", new[] { 1, 2, 2 }, "2 of 3 answered")]
    public void PingsAreAnsweredOrLost(string what, int[] answers, string? problem)
    {
        string[] lines = [.. answers.Select(n => $"64 bytes from 10.0.0.1: icmp_seq={n} ttl=64 time=0.{4 - n}5 ms")];
        PingResult result = Tools.ParsePing(new ToolResult(0, string.Join('\n', lines), ""), 3);
        Assert.True(problem == result.Problem, what);
        Assert.Equal(answers.Min(n => (4 - n + 0.5) / 10), result.Milliseconds);
    }

    [Fact]
    public void APingThatNobodyAnswers()
    {
        const string Output = """
            PING 10.0.0.9 (10.0.0.9) 56(84) bytes of data.
            From 10.0.0.1 icmp_seq=1 Destination Host Unreachable

            --- 10.0.0.9 ping statistics ---
            4 packets transmitted, 0 received, +1 errors, 100% packet loss, time 61ms
            """;
        Assert.Equal(new PingResult(null, "no answer"), Tools.ParsePing(new ToolResult(1, Output, ""), 3));
    }

    [Fact]
    public void APingThatCannotBeSent() =>
        Assert.Equal("ping: connect: Network is unreachable", Tools.ParsePing(new ToolResult(2, "", "ping: connect: Network is unreachable\n"), 3).Problem);
}
