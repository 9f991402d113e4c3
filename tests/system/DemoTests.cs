using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The demo as somebody who clones the repository meets it, kept off this machine's network by --isolated.</summary>
public sealed class DemoTests : IDisposable
{
    private const string Instance = "demo";
    private static readonly string[] Instances = [Instance, "demo-node1", "demo-node2"];

    private static readonly string[] Command = [Programs.Control, "demo", "--isolated", "--iperf-seconds", "1"];
    private static readonly string[] ClusterCommand = [Programs.Control, "demo", "cluster", "--iperf-seconds", "1"];

    public DemoTests()
    {
        Programs.Require();
    }

    [Fact]
    public void EveryCheckHoldsAndNothingIsLeft()
    {
        string[] lines = Lines([.. Command, "--once"]);
        Assert.All(lines, line => Assert.StartsWith("ok ", line, StringComparison.Ordinal));
        Assert.True(lines.Length >= 8, string.Join('\n', lines));
        NothingIsLeft();
    }

    /// <summary>Two nodes: all pings across, and what each switch did to one of them.</summary>
    [Fact]
    public void TheClusterIsShownHopByHop()
    {
        string[] lines = Lines([.. ClusterCommand, "--once"]), hops = [.. lines.Where(l => l.StartsWith(' '))];
        Assert.All(lines.Except(hops), line => Assert.StartsWith("ok ", line, StringComparison.Ordinal));
        Assert.Equal(12, lines.Count(l => l.StartsWith("ok   ping", StringComparison.Ordinal)));
        Assert.Contains(hops, h => h.Contains("into port node2: network 1, UDP source port", StringComparison.Ordinal));
        Assert.Contains(hops, h => h.Contains("from port overlay.router", StringComparison.Ordinal));
        NothingIsLeft();
    }

    /// <summary>A service whose backends change while a client asks.</summary>
    [Fact]
    public void ServicesAreShownAndNothingIsLeft()
    {
        string[] lines = Lines([Programs.Control, "demo", "services", "--once"]);
        Assert.All(lines, line => Assert.Matches("^(ok |       )", line));
        foreach (string check in new[] { "service", "node port", "published port", "hairpin", "masquerade", "hops", "requests meanwhile", "no backend", "accounting" })
        {
            Assert.Contains(lines, line => line.StartsWith($"ok   {check} ", StringComparison.Ordinal));
        }
        NothingIsLeft();
    }

    [Fact]
    public void TheLiveViewOfServicesRemovesEverythingAtItsEnd()
    {
        using Tool demo = Tool.Start([Programs.Control, "demo", "services"]);
        demo.WaitFor("web3 was added");
        Finished end = demo.Interrupt();
        Assert.True(end.ExitCode == 0, end.ToString());
        Assert.Contains(" answered, 0 failed", end.Output, StringComparison.Ordinal);
        Assert.DoesNotMatch("answered, [1-9]", end.Output);
        Assert.Contains("nothing is left", end.Output, StringComparison.Ordinal);
        NothingIsLeft();
    }

    [Theory]
    [InlineData(LinuxProcess.SIGINT)]
    [InlineData(LinuxProcess.SIGTERM)]
    public void TheLiveViewRemovesEverythingAtItsEnd(int signal)
    {
        using Tool demo = Started();
        if (signal == LinuxProcess.SIGINT)
        {
            foreach (string shown in new[] { "iperf3 dp-demo-1", "MACs", "port host  received" })
            {
                demo.WaitFor(shown);
            }
        }
        demo.Signal(signal);
        Finished end = demo.Wait();
        Assert.True(end.ExitCode == 0, end.ToString());
        Assert.Contains("nothing is left", end.Output, StringComparison.Ordinal);
        NothingIsLeft();
    }

    /// <summary>Ctrl-C while things are just being made.</summary>
    [Theory]
    [InlineData(300)]
    [InlineData(1000)]
    public void CtrlCDuringTheStartRemovesEverythingToo(int milliseconds)
    {
        using Tool demo = Tool.Start(Command);
        Thread.Sleep(milliseconds);
        Finished end = demo.Interrupt();
        Assert.DoesNotContain("Unhandled exception", end.ToString(), StringComparison.Ordinal);
        NothingIsLeft();
    }

    [Fact]
    public void TheNextOneRemovesWhatACrashLeft()
    {
        using (Tool demo = Started())
        {
            Remains.KillAll(Instance);
            demo.Signal(LinuxProcess.SIGKILL);
            demo.Wait();
        }
        Assert.NotEmpty(Left());

        string output = Tool.Do([.. Command, "--once"]);
        Assert.StartsWith("Removing what an earlier demo left: ", output, StringComparison.Ordinal);
        NothingIsLeft();
    }

    /// <summary>The demo itself is killed: its daemon and its containers go on, until the next one finds them.</summary>
    [Fact]
    public void TheNextOneRemovesWhatAKilledDemoLeftRunning()
    {
        using (Tool demo = Started())
        {
            demo.Signal(LinuxProcess.SIGKILL);
            demo.Wait();
        }
        Assert.NotEmpty(Remains.Processes(Instance));

        string output = Tool.Do([.. Command, "--once"]);
        Assert.Contains("process", output.Split('\n')[0], StringComparison.Ordinal);
        NothingIsLeft();
    }

    [Fact]
    public void ASecondOneIsRefused()
    {
        using Tool demo = Started();
        Tool.Run([.. Command, "--once"]).EndsWith(1).Says("a demo runs already");
        Assert.False(demo.HasEnded);
        demo.Interrupt();
        NothingIsLeft();
    }

    /// <summary>What a failed test left does not fail the next one.</summary>
    public void Dispose()
    {
        if (Left().Count > 0)
        {
            Tool.Run([.. Command, "--once"]);
        }
    }

    /// <summary>A demo that shows its live view.</summary>
    private static Tool Started()
    {
        Tool demo = Tool.Start(Command);
        demo.WaitFor("ping dp-demo-1 ->");
        return demo;
    }

    private static string[] Lines(string[] command) =>
        [.. Tool.Do(command).Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(l => !l.StartsWith("Removing", StringComparison.Ordinal))];

    private static void NothingIsLeft() => Assert.True(Left().Count == 0, string.Join('\n', Left()));

    private static IReadOnlyList<string> Left() =>
    [
        .. Instances.SelectMany(i => Remains.Of(i)),
        .. NetNs.List().Where(n => n.StartsWith("dp-demo-", StringComparison.Ordinal)).Select(n => "namespace " + n),
        .. Instances.Select(i => $"/run/dataplane-{i}.log").Where(File.Exists),
    ];
}
