using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;
using Stopwatch = System.Diagnostics.Stopwatch;

namespace Dataplane.SystemTests;

/// <summary>The switch costs nothing while nothing happens, and allocates nothing while it forwards.</summary>
public sealed class EfficiencyTests : IDisposable
{
    /// <summary>sysconf(_SC_CLK_TCK), 100 on every Linux of the platforms we build for.</summary>
    private const double TicksPerSecond = 100;

    private readonly Switch _switch = Switch.Started();
    private readonly Lan _lan;

    public EfficiencyTests()
    {
        _lan = new Lan(_switch, "lan", 111);
        _lan.AddHost();
        _lan.AddContainers("", "a", "b", "c");
    }

    /// <summary>TCP in large segments, then as many small packets as the sender can make, through the engine as it is shipped.</summary>
    [Fact]
    public void ForwardingAllocatesNothing()
    {
        Assert.True(Iperf.Send(_lan["a"], _lan["b"], "-t", "1") > 0);
        Assert.True(Iperf.Send(_lan["b"], _lan["host"], "-t", "1") > 0);
        ulong before = Worker.Packets;
        Assert.True(Iperf.Send(_lan["a"], _lan["c"], "-u", "-b", "0", "-l", "64", "-t", "3") > 0);
        Assert.True(Worker.Packets > before + 50_000, $"{Worker.Packets - before} packets are too few to tell anything");

        // The worker writes the figure once a second.
        Thread.Sleep(TimeSpan.FromSeconds(1.5));
        Assert.Equal(0ul, Worker.AllocatedBytes);
        Assert.Equal(0ul, _switch.Api.Status.GarbageCollections);
        Accounts.Balance(_switch);
    }

    /// <summary>Both processes together, with three containers and the host attached, as the demo has them.</summary>
    [Fact]
    public void AnIdleSwitchUsesUnder2PercentOfACore()
    {
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        int[] processes = [_switch.ControlPid, _switch.EnginePid];
        var shares = new List<double>();
        // The kernels of new devices talk for some seconds, new code is compiled, and the machine may be doing something else: the best of six.
        while (shares.Count < 6 && (shares.Count == 0 || shares.Min() >= 0.02))
        {
            double before = processes.Sum(ProcessorTime);
            var watch = Stopwatch.StartNew();
            Thread.Sleep(TimeSpan.FromSeconds(5));
            shares.Add((processes.Sum(ProcessorTime) - before) / watch.Elapsed.TotalSeconds);
        }
        Assert.True(shares.Min() < 0.02, string.Join(", ", shares.Select(s => s.ToString("P1", CultureInfo.InvariantCulture))));
    }

    /// <summary>What arrives in the container is what the sender's kernel handed over: segments of many times the MTU.</summary>
    [Fact]
    public void LargeSegmentsPassWhole()
    {
        using Recording capture = _lan["b"].Record("tcp and greater 3000");
        Assert.True(Iperf.Send(_lan["a"], _lan["b"], "-n", "32M") > 0);
        capture.WaitFor(f => f.Length > 1514, "a segment larger than the MTU");
        string features = _lan["b"].Namespace.Do("ethtool", "-k", "eth0");
        Assert.Contains("tcp-segmentation-offload: on", features, StringComparison.Ordinal);
        Assert.Contains("tx-checksumming: on", features, StringComparison.Ordinal);
        Assert.Equal(0ul, _switch.Api.Counters(_lan["b"].Port).SoftwareSegmented);
    }

    /// <summary>
    /// Datagrams in a row go to the kernel as one packet, which it takes apart: a socket sees no difference. Kernels before 6.2 know no such
    /// packets, and get them one by one.
    /// </summary>
    [Fact]
    public void DatagramsInARowArriveAsTheyWere()
    {
        using Recording capture = _lan["b"].Record("udp and greater 2000");
        for (int size = 1400; size > 4; size /= 3)
        {
            new Conversation(_lan["a"], _lan["b"]).FloodUdp(size, 50_000);
        }
        if (Environment.OSVersion.Version >= new Version(6, 2))
        {
            capture.WaitFor(f => f.Length > 1514, "several datagrams as one packet");
        }
        Accounts.Balance(_switch);
    }

    public void Dispose() => _switch.Dispose();

    private WorkerCounters Worker => Assert.Single(_switch.Api.Stats.GetWorkers(new GetWorkersRequest(), deadline: ApiClient.Deadline).Workers);

    /// <summary>User and system time of a process so far, in seconds; proc_pid_stat(5).</summary>
    private static double ProcessorTime(int process)
    {
        string stat = File.ReadAllText($"/proc/{process}/stat");
        // The name may contain anything but is closed by the last parenthesis; the state is field 3, the times are 14 and 15.
        string[] fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        return (double.Parse(fields[11], CultureInfo.InvariantCulture) + double.Parse(fields[12], CultureInfo.InvariantCulture)) / TicksPerSecond;
    }
}
