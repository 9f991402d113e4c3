using Dataplane.Control.Observation;
using Dataplane.Control.State;
using Dataplane.Observation;
using Dataplane.Stages;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Observation;

/// <summary>Every step of a trace has words of its own.</summary>
public sealed class TraceTextTests
{
    private static (string Stage, string Text) Of(TraceStep step, ulong a = 0, ulong b = 0, ushort port = 7) =>
        TraceText.Of(new CaptureRecord { Code = (byte)step, Port = port, A = a, B = b }, DesiredState.Empty);

    [Fact]
    public void Every_step_has_a_text()
    {
        for (TraceStep step = 0; step < TraceStep.Count; step++)
        {
            Assert.True(Of(step).Stage != "unknown", $"{step} has no text");
        }
        Assert.Equal("unknown", Of(TraceStep.Count).Stage);
    }

    [Theory]
    [InlineData(TraceStep.NeighbourAwaited, 0ul, 0x0A00_0102ul, "waits for the address of 10.0.1.2 on port #7")]
    [InlineData(TraceStep.NeighbourAwaited, 0xFD00_0001_0000_0000ul, 2ul, "waits for the address of fd00:1::2 on port #7")]
    [InlineData(TraceStep.NeighbourFound, 0xFE80_0000_0000_0000ul, 1ul, "goes on: fe80::1 on port #7 has answered")]
    [InlineData(TraceStep.NeighbourLearned, 0x0A00_0000_0002ul, (ulong)NeighbourState.Reachable, "its sender on port #7 is 02:00:00:00:00:0a, REACHABLE")]
    [InlineData(TraceStep.NeighbourAnswered, 0x0A00_0000_0002ul, (ulong)AnswerKind.Own, "answered on port #7 with 02:00:00:00:00:0a, the interface's own address")]
    [InlineData(TraceStep.NeighbourAnswered, 0x0A00_0000_0002ul, (ulong)AnswerKind.Proxy, "answered on port #7 with 02:00:00:00:00:0a, for it is routed elsewhere")]
    [InlineData(TraceStep.NeighbourAnswered, 0x0A00_0000_0002ul, (ulong)AnswerKind.Neighbour, "answered on port #7 with 02:00:00:00:00:0a, a neighbour that is known")]
    [InlineData(TraceStep.NeighbourForHost, 0ul, 0ul, "passed on to the host, port #7")]
    public void Neighbours(TraceStep step, ulong a, ulong b, string text) => Assert.Equal(("neighbour", text), Of(step, a, b));

    [Theory]
    [InlineData(TraceStep.ConnectionFound, 0ul, 0ul, "connection", "of a known connection")]
    [InlineData(TraceStep.ConnectionFound, (3ul << 32) | 9, (ulong)ConnectionFlags.Reply, "connection", "of a known connection of frontend #3, backend #9, coming back")]
    [InlineData(TraceStep.BackendChosen, (3ul << 32) | 9, 2ul, "service", "a new connection of frontend #3, backend #9 of service #2")]
    [InlineData(TraceStep.SourceTranslated, 0ul, 0x0A00_0001ul, "nat", "source becomes 10.0.0.1, port 7")]
    [InlineData(TraceStep.DestinationTranslated, 0xFD00_0000_0000_0000ul, 1ul, "nat", "destination becomes fd00::1, port 7")]
    [InlineData(TraceStep.Refused, 6ul, 0ul, "service", "the sender is told by a TCP reset, by port #7")]
    [InlineData(TraceStep.Refused, 132ul, 0ul, "service", "the sender is told by a SCTP abort, by port #7")]
    public void Translation(TraceStep step, ulong a, ulong b, string stage, string text) => Assert.Equal((stage, text), Of(step, a, b));
}
