using Dataplane.Control.Observation;
using Dataplane.Control.Api.V1;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.Stages;
using Dataplane.Tables;
using Dataplane.UnitTests.Control;
using TraceStep = Dataplane.Observation.TraceStep;

namespace Dataplane.UnitTests.Observation;

/// <summary>Every step of a trace has words of its own.</summary>
public sealed class TraceTextTests : IDisposable
{
    private readonly Bench _bench = new();

    public void Dispose() => _bench.Dispose();

    private (string Stage, string Text) Of(TraceStep step, ulong a = 0, ulong b = 0, ushort port = 7) =>
        TraceText.Of(new CaptureRecord { Code = (byte)step, Port = port, A = a, B = b }, new TraceNames(() => _bench.Controller.State, _bench.Segment));

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
    [InlineData(TraceStep.ConnectionFound, (3ul << 32) | 9, (ulong)ConnectionFlags.Reply, "connection", "of a known connection to service #0, frontend #3, by backend #9, coming back")]
    [InlineData(TraceStep.ConnectionFound, 9ul, 0ul, "connection", "of a known connection, by backend #9")]
    [InlineData(TraceStep.ConnectionGone, 0ul, 0ul, "connection", "of a service's connection that is gone")]
    [InlineData(TraceStep.BackendChosen, (3ul << 32) | 9, 2ul, "service", "a new connection to service #2, frontend #3, by backend #9")]
    [InlineData(TraceStep.SourceTranslated, 0ul, 0x0A00_0001ul, "nat", "source becomes 10.0.0.1, port 7")]
    [InlineData(TraceStep.DestinationTranslated, 0xFD00_0000_0000_0000ul, 1ul, "nat", "destination becomes fd00::1, port 7")]
    [InlineData(TraceStep.Refused, 6ul, 0ul, "service", "the sender is told by a TCP reset, by port #7")]
    [InlineData(TraceStep.Refused, 132ul, 0ul, "service", "the sender is told by a SCTP abort, by port #7")]
    public void Translation(TraceStep step, ulong a, ulong b, string stage, string text) => Assert.Equal((stage, text), Of(step, a, b));

    [Fact]
    public async Task Services_have_their_names_and_addresses()
    {
        await _bench.Apply(
            Make.Net("blue", "10.1.0.0/16", "10.1.0.1", more: n => n.Router = new Router()), Make.Routed("uplink", "192.0.2.10/24"), Make.Service("shop", "10.96.0.10", "80->8080"), Make.Backend("shop", "10.1.0.2"),
            Make.Service("six", "fd96::1", "53/udp"), Make.Backend("six", "fd00::2"), Make.Published("web", "10.1.0.3", 80, 8081));
        Assert.Equal(
            ["a new connection to published port web at 192.0.2.10:8081, by backend 10.1.0.3:80",
             "a new connection to service shop at 10.96.0.10:80, by backend 10.1.0.2:8080",
             "a new connection to service six at [fd96::1]:53, by backend [fd00::2]:53"],
            New().Where(t => !t.Contains(" at 10.1.", StringComparison.Ordinal)));
        (ulong frontend, ulong backend, _) = Frontends().First();
        await _bench.Delete((Kind.Backend, "shop/10.1.0.2"), (Kind.Backend, "six/fd00::2"), (Kind.Service, "shop"), (Kind.Service, "six"), (Kind.PublishedPort, "web"));
        Assert.Matches($"^a new connection to service #[0-9]+, frontend #{frontend}, by backend #{backend}$", Of(TraceStep.BackendChosen, (frontend << 32) | backend, 1).Text);

        IEnumerable<string> New() => Frontends().Select(f => Of(TraceStep.BackendChosen, (f.Frontend << 32) | f.Backend, f.Service).Text).Order(StringComparer.Ordinal);
    }

    /// <summary>Each frontend with one of the backends of its service.</summary>
    private IEnumerable<(ulong Frontend, ulong Backend, uint Service)> Frontends()
    {
        Dictionary<uint, int> backends = Enumerable.Range(1, _bench.Segment.MaxBackends - 1).Where(i => Backend(i).Has(BackendFlags.Exists)).ToDictionary(i => Backend(i).Service);
        return [.. Enumerable.Range(1, _bench.Segment.MaxFrontends - 1).Where(i => Frontend(i).Has(FrontendFlags.Exists) && !Frontend(i).Key.IsAddress)
            .Select(i => ((ulong)i, (ulong)backends[Frontend(i).Service], Frontend(i).Service))];

        FrontendRecord Frontend(int i) => _bench.Segment.Frontend(i, _bench.Segment.Generation);

        BackendRecord Backend(int i) => _bench.Segment.Backend(i, _bench.Segment.Generation);
    }
}
