using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class CpuAffinityTests
{
    [Theory]
    [InlineData("0", new[] { 0 })]
    [InlineData("1-3,5", new[] { 1, 2, 3, 5 })]
    [InlineData("5, 1-2 ,2", new[] { 1, 2, 5 })]
    [InlineData("8191", new[] { 8191 })]
    public void Lists_are_read(string text, int[] cpus) => Assert.Equal(cpus, CpuAffinity.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("1,")]
    [InlineData("a")]
    [InlineData("-1")]
    [InlineData("3-1")]
    [InlineData("1-2-3")]
    [InlineData("8192")]
    public void Malformed_lists_are_refused(string text) => Assert.Throws<FormatException>(() => CpuAffinity.Parse(text));

    [Theory]
    [InlineData("")]
    [InlineData("0")]
    [InlineData("1-3,5")]
    [InlineData("0,2,4-5")]
    public void Lists_are_written(string text) =>
        Assert.Equal(text, CpuAffinity.Format(text.Length == 0 ? [] : CpuAffinity.Parse(text)));

    [Fact]
    public void A_thread_is_bound_and_others_are_not()
    {
        int[] before = CpuAffinity.Get();
        Assert.NotEmpty(before);
        OnThread(() =>
        {
            CpuAffinity.Set(before[^1]);
            Assert.Equal([before[^1]], CpuAffinity.Get());
            Assert.Equal(before[^1], CpuAffinity.Current());
            CpuAffinity.Set(before);
            Assert.Equal(before, CpuAffinity.Get());
        });
        Assert.Equal(before, CpuAffinity.Get());
    }

    [Fact]
    public void All_threads_of_a_process_are_bound_and_one_chooses_for_itself()
    {
        // In a process of its own: this one has other tests.
        string host = Path.GetFileName(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        (int one, int other) = (CpuAffinity.Get()[0], CpuAffinity.Get()[^1]);
        string[] threads = Shell.Run(host, "exec", typeof(ProcessAffinity).Assembly.Location, ProcessAffinity.Command, $"{one}", $"{other}").Split('\n', StringSplitOptions.RemoveEmptyEntries);

        Assert.True(threads.Length > 2 * ProcessAffinity.Threads, string.Join(", ", threads));
        string exception = Assert.Single(threads, thread => thread.StartsWith(ProcessAffinity.Exception, StringComparison.Ordinal));
        Assert.Equal($"{ProcessAffinity.Exception}: {other}", exception);
        Assert.All(threads.Where(thread => thread != exception), thread => Assert.EndsWith($": {one}", thread, StringComparison.Ordinal));
    }

    [Fact]
    public void A_missing_cpu_is_named() => OnThread(() =>
    {
        var e = Assert.Throws<LinuxException>(() => CpuAffinity.Set(8190, 8191));
        Assert.StartsWith("bind the thread to CPU 8190-8191: Invalid argument (errno 22). No such CPU is online", e.Message);
    });

    [Fact]
    public void A_thread_gets_a_name() => OnThread(() =>
    {
        CpuAffinity.NameThread("worker 1");
        Assert.Equal("worker 1\n", File.ReadAllText("/proc/thread-self/comm"));
        CpuAffinity.NameThread("a name that is much too long");
        Assert.Equal("a name that is \n", File.ReadAllText("/proc/thread-self/comm"));
    });

    [Fact]
    public void A_thread_is_woken_as_exactly_as_it_asks() => OnThread(() =>
    {
        CpuAffinity.SetTimerSlack(1234);
        Assert.Equal("1234\n", File.ReadAllText($"/proc/{LinuxProcess.ThreadId}/timerslack_ns"));
        Assert.Throws<ArgumentOutOfRangeException>(() => CpuAffinity.SetTimerSlack(0));
    });

    [Fact]
    public void A_cpu_has_a_numa_node()
    {
        Assert.InRange(CpuAffinity.NodeOf(CpuAffinity.Get()[0]), 0, 1023);
        Assert.Equal(-1, CpuAffinity.NodeOf(8191));
    }

    private static void OnThread(Action action)
    {
        Exception? error = null;
        var thread = new Thread(() => error = Record.Exception(action));
        thread.Start();
        thread.Join();
        if (error is not null)
            throw error;
    }
}
