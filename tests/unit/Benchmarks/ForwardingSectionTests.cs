using System.Runtime.Versioning;
using System.Text.Json;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.UnitTests.Benchmarks;

/// <summary>Tables of programs that forward.</summary>
[SupportedOSPlatform("linux")]
public sealed class ForwardingSectionTests
{
    private const string OneWorker = "× one worker\nbest | median";

    [Fact]
    public void Several_workers_are_compared_with_one_at_the_same_workload()
    {
        var ours = new Stub("ours");
        var theirs = new Stub("theirs");
        RunSettings one = TestRun.Settings(2), two = one with { Workers = 2 };
        Section section = ForwardingSection.Of("Service", 1_000_000_000,
        [
            Point("10 flows", 10, one, (ours, [20e6, 10e6, 30e6]), (theirs, [5e6])),
            Point("bursts of 4", 1_000, one with { Burst = 4 }, (ours, [1e6]), (theirs, [1e6])),
            Point("1,000 flows", 1_000, one, (ours, [10e6, 20e6, 30e6]), (theirs, [5e6])),
            Point("2 workers", 1_000, two, (ours, [30e6, 36e6, 45e6])),
        ]);

        int column = section.Columns.ToList().IndexOf(OneWorker);
        Assert.Equal(["", "", "", "", "", "", "1.50 | 1.80"], section.Rows.Select(row => row[column]));
        JsonElement[] figures = [.. JsonSerializer.SerializeToElement(section.Figures).EnumerateArray()];
        JsonElement times = figures[^1].GetProperty("Subjects")[0].GetProperty("TimesOneWorker");
        Assert.Equal((1.5, 1.8), (times.GetProperty("Best").GetDouble(), times.GetProperty("Median").GetDouble()));
        Assert.Equal(JsonValueKind.Null, figures[2].GetProperty("Subjects")[0].GetProperty("TimesOneWorker").ValueKind);
    }

    [Fact]
    public void A_workload_is_not_compared_with_another_one_of_that_size()
    {
        var ours = new Stub("ours");
        RunSettings one = TestRun.Settings(2), two = one with { Workers = 2 };
        PointResult OverVxlan(RunSettings settings, double rate) =>
            new(new Point("VXLAN", new ServiceOverVxlanScenario(10, PacketSizes.Smallest), settings), [Result(ours, [rate])]);
        Section section = ForwardingSection.Of("Service", 1_000_000_000,
            [Point("VIP", 10, one, (ours, [40e6])), OverVxlan(one, 30e6), Point("VIP", 10, two, (ours, [80e6])), OverVxlan(two, 45e6)]);
        int column = section.Columns.ToList().IndexOf(OneWorker);
        Assert.Equal(["", "", "2.00 | 2.00", "1.50 | 1.50"], section.Rows.Select(row => row[column]));
    }

    [Fact]
    public void There_is_no_such_column_without_one_worker()
    {
        Section section = ForwardingSection.Of("Service", 1_000_000_000, [Point("2 workers", 10, TestRun.Settings(2) with { Workers = 2 }, (new Stub("ours"), [1e6]))]);
        Assert.DoesNotContain(OneWorker, section.Columns);
    }

    [Fact]
    public void Conditions_say_what_rows_are_of_that_do_not()
    {
        PointResult usual = Point("10 flows", 10, TestRun.Settings(2), (new Stub("ours"), [1e6]));
        PointResult burst = Point("bursts of 4", 10, TestRun.Settings(2) with { Burst = 4 }, (new Stub("ours"), [1e6]));
        Section section = ForwardingSection.Of("Service", 1_000_000_000, [usual, burst with { Point = burst.Point with { Of = "10 flows" } }]);
        Assert.StartsWith("Unless the row says otherwise: packets of 64 bytes, bursts of 64, one core, 10 flows;", section.Conditions, StringComparison.Ordinal);
    }

    private static PointResult Point(string label, int flows, RunSettings settings, params (Subject Subject, double[] PacketsPerSecond)[] results) =>
        new(new Point(label, new ServiceScenario(flows, PacketSizes.Smallest), settings), [.. results.Select(r => Result(r.Subject, r.PacketsPerSecond))]);

    private static SubjectResult Result(Subject subject, double[] packetsPerSecond)
    {
        var result = new SubjectResult(subject);
        result.Add(new RunResult { Windows = [.. packetsPerSecond.Select(rate => new Window { PacketsPerSecond = rate })], CommandLine = "" });
        return result;
    }

    private sealed class Stub(string name) : Subject(name)
    {
        public override IDisposable Start(RunContext context, CancellationToken cancel) => throw new NotSupportedException();

        public override RunResult Run(RunContext context, CancellationToken cancel) => throw new NotSupportedException();
    }
}
