using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Dpdk;

[Collection(EalFixture.Collection)]
public sealed class EalTests(EalFixture eal)
{
    [Fact]
    public void NothingIsLeftOnDisk()
    {
        // Where EAL keeps its files: for root, and for others.
        string?[] places = ["/var/run/dpdk", "/tmp/dpdk", Environment.GetEnvironmentVariable("XDG_RUNTIME_DIR") is { } place ? $"{place}/dpdk" : null];
        Assert.All(places, directory => Assert.False(Directory.Exists($"{directory}/{eal.FilePrefix}"), directory));
        Assert.Empty(Directory.GetFileSystemEntries("/dev/shm", $"*{eal.FilePrefix}*"));
    }

    [Fact]
    public void ASecondStartIsRefused()
    {
        Assert.True(Eal.IsInitialised);
        Assert.Throws<InvalidOperationException>(() => Eal.Init(Eal.LaptopArguments(16, "again")));
    }

    [Fact]
    public void TheVersionIsAReleaseThatIsSupported()
    {
        Assert.Matches(@"^DPDK 2\d\.(03|07|11)\.", Eal.Version);
    }

    [Fact]
    public void ErrorNumbersOfEitherSignHaveTexts()
    {
        Assert.Equal("No such device", Eal.ErrorText(19));
        Assert.Equal("No such device", Eal.ErrorText(-19));
    }

    [Fact]
    public void TheCallersAffinityIsKept() => Assert.Equal(eal.Affinity.Before, eal.Affinity.After);

    [Fact]
    public void ArgumentsLeaveAllButOneLcoreToThreadsOfOurs()
    {
        Assert.All([Eal.LaptopArguments(64, "x"), Eal.HugePageArguments(64, "x")],
            arguments => Assert.Single(arguments, $"--lcores=0@({string.Join(',', CpuAffinity.Get())})"));
    }

    [Fact]
    public void RegisteredThreadsHaveDifferentLcores()
    {
        uint before = 0, first = 0, second = 0, after = 0;
        OnNewThread(() =>
        {
            before = Shim.dps_lcore_id();
            Eal.RegisterThread();
            Eal.RegisterThread();
            first = Shim.dps_lcore_id();
            OnNewThread(() =>
            {
                Eal.RegisterThread();
                second = Shim.dps_lcore_id();
                Eal.UnregisterThread();
            });
            Eal.UnregisterThread();
            Eal.UnregisterThread();
            after = Shim.dps_lcore_id();
        });

        Assert.Equal(uint.MaxValue, before);
        Assert.NotEqual(uint.MaxValue, first);
        Assert.NotEqual(uint.MaxValue, second);
        Assert.NotEqual(first, second);
        Assert.Equal(uint.MaxValue, after);
    }

    [Fact]
    public void TheTimestampCounterRunsAtItsFrequency()
    {
        var clock = System.Diagnostics.Stopwatch.StartNew();
        var start = Shim.dps_rdtsc();
        while (clock.ElapsedMilliseconds < 20) Thread.SpinWait(100);
        var seconds = (double)(Shim.dps_rdtsc() - start) / Eal.TimestampFrequency;

        Assert.InRange(seconds, 0.9 * 0.02, 1.1 * clock.Elapsed.TotalSeconds);
    }

    internal static void OnNewThread(Action action)
    {
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                action();
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        });
        thread.Start();
        thread.Join();
        if (failure is not null) throw new InvalidOperationException("The thread failed.", failure);
    }
}
