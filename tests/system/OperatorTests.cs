using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>A network with a static and a drop entry.</summary>
public sealed class OperatorNetwork
{
    public const string Fixed = "02:42:00:00:00:63", Dropped = "02:42:00:00:00:64";

    public OperatorNetwork(SharedSwitch shared)
    {
        Lan = new Lan(shared.Switch, "op", 161);
        Lan.AddHost();
        Lan.AddContainers("isolated: true, learn_limit: 7", "a");
        Lan.AddContainers("", "b");
        Lan.Switch.Do("mac", "add", Fixed, "--network", Lan.Name, "--port", Lan["a"].Port);
        Lan.Switch.Do("mac", "drop", Dropped, "--network", Lan.Name);
        Ping.Reaches(Lan["a"], Lan["b"].Address);
    }

    public Lan Lan { get; }
}

/// <summary>What operators look at: the live screen, lists in iproute2's words, wide tables, completion.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class OperatorTests(OperatorNetwork network) : IClassFixture<OperatorNetwork>
{
    private readonly Lan _lan = network.Lan;

    [Fact]
    public void TheMacTableIsPrintedAsIproute2PrintsOne()
    {
        string all = _lan.Switch.Run("bridge", "fdb", "show", "br", _lan.Name).Succeeds().Output;
        string[] expected =
        [
            $"{_lan["a"].Mac} dev {_lan["a"].Port} master {_lan.Name}", $"{_lan["b"].Mac} dev {_lan["b"].Port} master {_lan.Name}",
            $"{OperatorNetwork.Fixed} dev {_lan["a"].Port} master {_lan.Name} static", $"{OperatorNetwork.Dropped} master {_lan.Name} static blackhole",
        ];
        Assert.Subset(all.Split('\n').ToHashSet(), expected.ToHashSet());
        Assert.Equal(expected[2] + "\n", _lan.Switch.Run("bridge", "fdb", "show", "br", _lan.Name, "dev", _lan["a"].Port, "static").Succeeds().Output);
        Assert.DoesNotContain("static", _lan.Switch.Run("bridge", "fdb", "dynamic").Succeeds().Output, StringComparison.Ordinal);
        _lan.Switch.Run("bridge", "fdb", "show", "vlan", "ten").EndsWith(2).Says("\"ten\" is not understood");
        _lan.Switch.Run("bridge", "fdb", "show", "br").EndsWith(2).Says("missing behind \"br\"");
    }

    [Fact]
    public void TopShowsTheTrafficOfTheLastSecond()
    {
        using ContinuousPing ping = Ping.Start(_lan["a"], _lan["b"].Address, "0.01");
        string[] lines = _lan.Switch.Run("top", "--iterations", "1").Succeeds().Output.Split('\n');
        string[] port = Columns(lines, _lan["a"].Port), headings = Columns(lines, "PORT");
        // Two hundred packets in and out, less what a busy machine delays.
        Assert.True(int.Parse(port[Array.IndexOf(headings, "RX/s")]) > 20, string.Join('\n', lines));
        Assert.Contains(lines, l => l.Contains("engine running", StringComparison.Ordinal));
        Assert.Contains(lines, l => l.StartsWith("WORKER", StringComparison.Ordinal) && l.Contains("LOAD", StringComparison.Ordinal));
    }

    [Fact]
    public void AWatchShowsWhatThereIsAndEveryChangeAsItHappens()
    {
        _lan.Switch.Do("policy", "add", "op-watched", "--pps", "100");
        using Tool watch = Tool.Start([Programs.Control, "watch", "policy", "--instance", _lan.Switch.Instance]);
        watch.WaitFor("  synced\n");
        Assert.Matches("(?m)^ *[0-9]+  snapshot  policy \"op-watched\"$", watch.Output);
        _lan.Switch.Apply("policies: [{name: op-watched, isolated: true}]");
        watch.WaitFor("  updated   policy \"op-watched\"\n");
        _lan.Switch.Do("policy", "delete", "op-watched");
        watch.WaitFor("  deleted   policy \"op-watched\"\n");
    }

    [Fact]
    public void AWideTableShowsWhatDiffersFromTheDefaults()
    {
        string[] lines = _lan.Switch.Run("get", "ports", "--network", _lan.Name, "-o", "wide").Succeeds().Output.Split('\n');
        string[] headings = Columns(lines, "NAME"), port = Columns(lines, _lan["a"].Port);
        Assert.Equal("isolated", port[Array.IndexOf(headings, "SETTINGS")]);
        Assert.Equal("7", port[Array.IndexOf(headings, "LIMIT")]);
    }

    [Theory]
    [InlineData("dataplane por", "port")]
    [InlineData("dataplane mac list --netw", "--network")]
    [InlineData("dataplane port get op-", "op-a op-b op-host")]
    [InlineData("dataplane mac list --port op-h", "op-host")]
    [InlineData("dataplane network delete o", "op")]
    public void TheShellCompletes(string line, string expected)
    {
        // What bash itself sets when Tab is pressed at the end of the line.
        string script = $"""
            PATH={Path.GetDirectoryName(Programs.Control)}:$PATH
            source <(dataplane completion bash)
            COMP_LINE='{line}' COMP_POINT={line.Length} COMP_WORDS=({line}) COMP_CWORD={line.Split(' ').Length - 1}
            _dataplane
            echo "$(printf '%s\n' "$(IFS=$'\n'; echo "$"[COMPREPLY[*]])" | sort -u | paste -sd ' ')"
            """.Replace("\"$\"[COMPREPLY[*]]", "\"${COMPREPLY[*]}\"", StringComparison.Ordinal);
        var environment = new Dictionary<string, string> { ["DATAPLANE_INSTANCE"] = _lan.Switch.Instance };
        Assert.Equal(expected, Tool.Run(["bash", "-c", script], environment).Succeeds().Output.Trim());
    }

    [Fact]
    public void ADryRunShowsTheDifferenceAndChangesNothing()
    {
        Station b = _lan["b"];
        string change = $"ports: [{{name: {b.Port}, network: {_lan.Name}, learn_limit: 9, tap: {{netns: {b.Namespace.Name}, addresses: [{b.Address}/16], default_route: true}}}}]";
        Finished dry = _lan.Switch.TryApply(change, "--dry-run").Succeeds();
        Assert.Contains($"port \"{b.Port}\" updated (dry run)", dry.Output, StringComparison.Ordinal);
        Assert.Contains("learn_limit: 0 -> 9", dry.Output, StringComparison.Ordinal);
        Assert.Equal(0, _lan.Switch.Json("get", "port", b.Port).GetProperty("learn_limit").GetInt32());
    }

    /// <summary>The words of the line that begins with one.</summary>
    private static string[] Columns(string[] lines, string first) =>
        [.. lines.First(l => l.Split(' ')[0] == first).Split("  ", StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)];
}
