using System.Runtime.Versioning;
using Dataplane.ThroughputBench.Commands;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;
using Dataplane.ThroughputBench.Vpp;

namespace Dataplane.UnitTests.Benchmarks;

/// <summary>What is varied, and who takes part.</summary>
[SupportedOSPlatform("linux")]
public sealed class AxesTests
{
    private static readonly PacketSizes s_mix = PacketSizes.Parse("imix")!;

    [Fact]
    public void One_thing_is_varied_at_a_time_at_one_size_of_the_table()
    {
        AxisValues axes = AxisValues.Of(TestRun.Settings(2), null, null, null);
        List<Point> points = axes.Points([1, 1_000, 100_000], n => $"{n}", (n, packets) => new ServiceScenario(n, packets));

        Assert.Equal(
            [
                ("1", 1, "64", 64, 1), ("1000", 1_000, "64", 64, 1), ("100000", 100_000, "64", 64, 1),
                ("1000, imix", 1_000, "imix", 64, 1), ("1000, 1500 bytes", 1_000, "1500", 64, 1), ("1000, 9000 bytes", 1_000, "9000", 64, 1),
                ("1000, bursts of 16", 1_000, "64", 16, 1), ("1000, bursts of 4", 1_000, "64", 4, 1), ("1000, bursts of 1", 1_000, "64", 1, 1),
                ("1000, 2 workers", 1_000, "64", 64, 2),
            ],
            points.Select(p => (p.Label, p.Scenario.Size, p.Scenario.Packets.Name, p.Settings.Burst, p.Settings.Workers)));
    }

    [Fact]
    public void The_first_values_are_the_base_case()
    {
        AxisValues axes = AxisValues.Of(TestRun.Settings(4), [s_mix, PacketSizes.Smallest], [4, 64], [2, 1]);
        List<Point> points = axes.Points([20, 10], n => $"{n} flows", (n, packets) => new ServiceScenario(n, packets), isOnlyOne: true);

        Assert.Equal(
            [
                ("20 flows", 20, "imix", 4, 2), ("10 flows", 10, "imix", 4, 2),
                ("64 bytes", 20, "64", 4, 2), ("bursts of 64", 20, "imix", 64, 2), ("1 worker", 20, "imix", 4, 1),
            ],
            points.Select(p => (p.Label, p.Scenario.Size, p.Scenario.Packets.Name, p.Settings.Burst, p.Settings.Workers)));
        Assert.Equal([null, null, "20 flows", "20 flows", "20 flows"], points.Select(p => p.Of));
    }

    [Fact]
    public void What_was_not_asked_for_can_stay_as_it_is()
    {
        AxisValues named = AxisValues.Of(TestRun.Settings(2), null, [64, 4], null).Named;
        Assert.Equal(["64", "64"], named.Points([1], _ => "", (n, packets) => new ServiceScenario(n, packets)).Select(p => p.Scenario.Packets.Name));
        Assert.Equal([64, 4], named.Bursts);
        Assert.Equal([1], named.Workers);
    }

    [Theory]
    [InlineData(1, 1, 0, false)]
    [InlineData(2, 1, 0, true)]
    [InlineData(2, 2, 0, false)]
    [InlineData(4, 2, 0, true)]
    [InlineData(4, 4, 0, false)]
    public void Everything_else_has_a_cpu_without_a_worker_if_there_is_one(int cpus, int workers, int other, bool isFree)
    {
        RunSettings settings = TestRun.Settings(cpus) with { Workers = workers };
        Assert.Equal((other, isFree), (settings.OtherCore, settings.HasOtherCore));
        Assert.Equal(Enumerable.Range(0, cpus).Reverse().Take(workers), settings.WorkerCores);
    }

    [Theory]
    [InlineData("64", 64, 1, 2, ServiceTraffic.Known, null)]
    [InlineData("64", 64, 2, 3, ServiceTraffic.Known, null)]
    [InlineData("64", 64, 2, 2, ServiceTraffic.Known, "needs a CPU for its main thread beside those of the workers")]
    [InlineData("64", 4, 1, 2, ServiceTraffic.Known, "has vectors of its own, of 256")]
    [InlineData("9000", 64, 1, 2, ServiceTraffic.Known, "needs --hugepages for packets of this size")]
    [InlineData("64", 64, 1, 2, ServiceTraffic.Evicting, "makes no room in a full table")]
    [InlineData("64", 64, 1, 2, ServiceTraffic.Filling, null)]
    public void Vpp_takes_part_where_it_can(string packets, int burst, int workers, int cpus, ServiceTraffic traffic, string? obstacle)
    {
        var vpp = new VppSubject("VPP", "vpp", new VppNat44(), servicesAlone: false);
        Assert.Equal(obstacle, vpp.Obstacle(new ServiceScenario(100_000, PacketSizes.Parse(packets)!, traffic), TestRun.Settings(cpus) with { Burst = burst, Workers = workers }));
    }
}
