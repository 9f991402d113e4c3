using System.Globalization;
using System.Text.Json;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>A host and two containers, one of them isolated from a third.</summary>
public sealed class CaptureNetwork
{
    public CaptureNetwork(SharedSwitch shared)
    {
        Lan = new Lan(shared.Switch, "cap", 151);
        Lan.AddHost();
        Lan.AddContainers("", "a", "b");
        Lan.AddContainers("isolated: true", "x", "y");
    }

    public Lan Lan { get; }
}

/// <summary>What <c>dataplane capture</c> writes, read back by <c>tshark</c>; what <c>dataplane trace</c> says.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class CaptureTests(CaptureNetwork network) : IClassFixture<CaptureNetwork>, IDisposable
{
    private readonly Lan _lan = network.Lan;
    private readonly string _file = Path.Combine(Path.GetTempPath(), $"dataplane-capture-{Guid.NewGuid():N}.pcapng");

    /// <summary>tcpdump on the container's device and the switch at the port behind it see the same conversation.</summary>
    [Fact]
    public void AKnownConversationIsReadBackPacketForPacket()
    {
        Station a = _lan["a"], b = _lan["b"];
        Ping.Reaches(a, b.Address);
        using Recording recording = a.Record("icmp");
        using (Tool capture = Capture("--port", a.Port, "--filter", "icmp", "-w", _file))
        {
            foreach (int size in new[] { 28, 64, 100, 576, 1000, 1499, 1500 })
            {
                Ping.Reaches(a, b.Address, size);
            }
            Until.True(() => recording.Frames.Count == 7 * 3 * 2, "tcpdump has seen all", () => $"{recording.Frames.Count}");
            capture.Interrupt().Says("42 packets captured, 0 lost");
        }
        Assert.Equal(recording.Frames.Select(Convert.ToHexString), Frames());
        // Requests come in at the container's port, answers go out.
        Assert.Equal(Enumerable.Range(0, 42).Select(i => i % 2 == 0 ? (a.Port, "8", 1) : (a.Port, "0", 2)),
            Fields("frame.interface_name", "icmp.type", "frame.packet_flags_direction").Select(line => line.Split(' ')).Select(f => (f[0], f[1], Convert.ToInt32(f[2], 16))));
        NothingToComplainOf();
    }

    [Fact]
    public void LargeSegmentsOfTcpAreReadBackWhole()
    {
        Station a = _lan["a"], b = _lan["b"];
        using (Tool capture = Capture("--port", a.Port, "--filter", "tcp", "-w", _file))
        {
            using Tool server = b.Namespace.Start("iperf3", "-s", "-1", "--forceflush");
            server.WaitFor("listening");
            // All of it fits into the worker's ring: whenever the capture is read, nothing was lost.
            a.Namespace.Do("iperf3", "-c", b.Address, "-n", "256K");
            server.Wait();
            capture.Interrupt().Says(" 0 lost");
        }
        Assert.Contains(Fields("frame.len"), length => int.Parse(length, CultureInfo.InvariantCulture) > 10_000);
        Assert.All(Fields("frame.len", "frame.cap_len"), lengths => Assert.Equal(lengths.Split(' ')[0], lengths.Split(' ')[1]));
        // That TCP sent something twice is a warning of tshark's too, and none about the file.
        NothingToComplainOf("error");
    }

    [Fact]
    public void DroppedPacketsCarryTheReasonThatIsCounted()
    {
        Station x = _lan["x"], y = _lan["y"];
        Ping.Reaches(y, _lan["host"].Address);
        x.Namespace.Do("ip", "neighbour", "replace", y.Address, "lladdr", y.Mac, "dev", x.Device);
        ulong before = _lan.Api.Drops(x.Port, "isolated");
        using (Tool capture = Capture("--drops=isolated", "--filter", "icmp", "-w", _file))
        {
            Ping.DoesNotReach(x, y.Address);
            Until.True(() => _lan.Api.Drops(x.Port, "isolated") >= before + 3, "three pings are dropped");
            capture.Interrupt();
        }
        IReadOnlyList<string> drops = Fields("frame.interface_name", "ip.dst", "frame.comment");
        Assert.Equal(Enumerable.Repeat($"{x.Port} {y.Address} dropped: isolated (input and output port are isolated from each other)", 3), drops);
    }

    [Fact]
    public void ATraceNamesTheDropReasonThatTheCounterShows()
    {
        Station x = _lan["x"], y = _lan["y"];
        Ping.Reaches(y, _lan["host"].Address);
        x.Namespace.Do("ip", "neighbour", "replace", y.Address, "lladdr", y.Mac, "dev", x.Device);
        using Tool trace = Start("trace", "--port", x.Port, "--count", "2", "--filter", $"icmp and dst {y.Address}");
        trace.WaitFor("tracing");
        Ping.DoesNotReach(x, y.Address);
        string output = trace.Wait().Succeeds().Output;
        Assert.Equal(2, output.Split('\n').Count(line => line.StartsWith("packet ", StringComparison.Ordinal)
            && line.Contains($"{x.Mac} > {y.Mac}, IPv4 {x.Address} > {y.Address}, ICMP echo request", StringComparison.Ordinal)));
        Assert.Contains($"lookup   {y.Mac} is known on port {y.Port}", output, StringComparison.Ordinal);
        Assert.Contains($"drop     isolated: input and output port are isolated from each other (counted on port {x.Port})", output, StringComparison.Ordinal);
    }

    [Fact]
    public void ATraceFollowsAFloodedPacketToEveryPort()
    {
        Station a = _lan["a"];
        using Tool trace = Start("trace", "--port", a.Port, "--filter", "arp", "-o", "json");
        trace.WaitFor("tracing");
        Until.True(
            () =>
            {
                a.Namespace.Run("arping", "-c", "1", "-w", "1", "-I", a.Device, $"{a.Address[..a.Address.LastIndexOf('.')]}.250");
                return trace.HasEnded;
            },
            "a packet is traced");
        string json = trace.Wait().Succeeds().Output;
        foreach (string port in new[] { "b", "x", "y", "host" }.Select(label => _lan[label].Port))
        {
            Assert.Contains($"to port {port}, ", json, StringComparison.Ordinal);
        }
        Assert.Contains("\"text\":\"broadcast\"", json, StringComparison.Ordinal);
    }

    [Fact]
    public void ACaptureCanBePipedToAnotherProgram()
    {
        Station a = _lan["a"], b = _lan["b"];
        string command = $"{Programs.Control} capture --instance {_lan.Switch.Instance} --direction in --filter 'icmp[icmptype] == icmp-echo' --count 3 -w - | tshark -n -l -r - -T fields -e ip.src";
        using Tool pipe = Tool.Start(["sh", "-c", command]);
        pipe.WaitFor("capturing to standard output");
        Ping.Reaches(a, b.Address);
        Assert.Equal(string.Concat(Enumerable.Repeat(a.Address + "\n", 3)), pipe.Wait().Succeeds().Output);
    }

    [Theory]
    [InlineData("the filter is not understood: \"tcp porf 3\": ", "capture", "-w", "FILE", "--filter", "tcp porf 3")]
    [InlineData("port \"nowhere\": does not exist", "capture", "-w", "FILE", "--port", "nowhere")]
    [InlineData("\"no-reason\" is no drop reason; they are: truncated, ", "capture", "-w", "FILE", "--drops=no-reason")]
    [InlineData("leave out either direction or drops", "capture", "-w", "FILE", "--drops", "--direction", "in")]
    [InlineData("10001 packets are too many to trace", "trace", "--count", "10001")]
    public void ARefusedCaptureLeavesNoFile(string says, params string[] arguments)
    {
        _lan.Switch.Run([.. arguments.Select(a => a == "FILE" ? _file : a)]).EndsWith(1).Says(says);
        Assert.False(File.Exists(_file));
    }

    public void Dispose() => File.Delete(_file);

    private Tool Capture(params string[] arguments)
    {
        Tool capture = Start(["capture", .. arguments]);
        capture.WaitFor("capturing to");
        return capture;
    }

    private Tool Start(params string[] arguments) => Tool.Start([Programs.Control, .. arguments, "--instance", _lan.Switch.Instance]);

    /// <summary>Fields of every packet of the file, as tshark reads them.</summary>
    private List<string> Fields(params string[] names) =>
        [.. Tool.Do(["tshark", "-n", "-r", _file, "-T", "fields", "-E", "separator= ", .. names.SelectMany(n => new[] { "-e", n })])
            .Split('\n', StringSplitOptions.RemoveEmptyEntries)];

    /// <summary>Every packet's bytes in hexadecimal, as tshark reads them.</summary>
    private List<string> Frames()
    {
        using JsonDocument packets = JsonDocument.Parse(Tool.Do("tshark", "-n", "-r", _file, "-T", "jsonraw"));
        return [.. packets.RootElement.EnumerateArray().Select(p => p.GetProperty("_source").GetProperty("layers").GetProperty("frame_raw")[0].GetString()!.ToUpperInvariant())];
    }

    /// <summary>tshark reads the file without a word, and finds nothing wrong in any packet.</summary>
    private void NothingToComplainOf(string severity = "warn")
    {
        Finished read = Tool.Run(["tshark", "-n", "-r", _file, "-q", "-z", $"expert,{severity}"]).Succeeds();
        Assert.DoesNotContain("Warns", read.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("Errors", read.Output, StringComparison.Ordinal);
        Assert.True(read.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries).All(l => l.StartsWith("Running as user", StringComparison.Ordinal)), read.Error);
    }
}
