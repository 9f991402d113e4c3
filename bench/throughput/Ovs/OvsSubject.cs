using System.Diagnostics;
using System.Globalization;
using Dataplane.ThroughputBench.Control;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Ovs;

/// <summary>
/// Open vSwitch, started in a private directory with sockets of its own and a datapath that has no devices. An entry is a flow that
/// sends a destination address to a port, put in by <c>ovs-ofctl</c>, as a bundle (all or none) or not. Flows are not durable.
/// </summary>
public sealed class OvsSubject : IDisposable
{
    private const string Bridge = "bench";

    private readonly OvsProcess _ovs;
    private int _next;

    /// <param name="directory">For its files and sockets.</param>
    /// <param name="cancel">Ends the start, and each load.</param>
    public OvsSubject(string directory, CancellationToken cancel)
    {
        _ovs = new OvsProcess(directory, cancel);
        try
        {
            string program = OvsProcess.Find(OvsProcess.Program);
            _ovs.Start(program, ownNetwork: false, "--enable-dummy");
            _ovs.Configure("add-br", Bridge, "--", "set", "bridge", Bridge, "datapath_type=dummy", "fail-mode=secure",
                "--", "add-port", Bridge, "target", "--", "set", "interface", "target", "type=dummy", "ofport_request=1");
            _ovs.WaitForFile(Socket, _ovs.Switch);
            Version = _ovs.Do(program, "--version").Split('\n')[0];
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public string Version { get; }

    /// <summary>Resident memory of the switch in bytes.</summary>
    public long ResidentBytes => ProcessMemory.Resident(_ovs.Switch.Id);

    private TimeSpan Cpu => ProcessMemory.Cpu(_ovs.Switch.Id);

    private string Socket => _ovs.FileOf($"{Bridge}.mgmt");

    /// <summary>One flow after the other, each by a process of its own: there is no other way from the command line.</summary>
    public LoadResult Single(int count)
    {
        var times = new List<TimeSpan>();
        TimeSpan cpu = Cpu;
        long start = Stopwatch.GetTimestamp();
        for (int i = 0; i < count; i++)
        {
            long begin = Stopwatch.GetTimestamp();
            _ovs.Do("ovs-ofctl", "add-flow", $"unix:{Socket}", Flow(_next++));
            times.Add(Stopwatch.GetElapsedTime(begin));
        }
        return Result("single, ovs-ofctl add-flow each", count, start, cpu, times);
    }

    /// <summary>Bundles, each by a process of its own.</summary>
    public LoadResult Bundles(int count, int batch)
    {
        string[] files = [.. Enumerable.Range(0, count / batch).Select(_ => File(batch))];
        var times = new List<TimeSpan>();
        TimeSpan cpu = Cpu;
        long start = Stopwatch.GetTimestamp();
        foreach (string file in files)
        {
            long begin = Stopwatch.GetTimestamp();
            _ovs.Do("ovs-ofctl", "--bundle", "add-flows", $"unix:{Socket}", file);
            times.Add(Stopwatch.GetElapsedTime(begin));
        }
        return Result(Text($"ovs-ofctl, bundles of {batch:N0}"), count, start, cpu, times);
    }

    /// <summary>One process that sends all of them, as one bundle or flow by flow.</summary>
    public LoadResult Stream(int count, bool bundle)
    {
        string file = File(count);
        TimeSpan cpu = Cpu;
        long start = Stopwatch.GetTimestamp();
        _ovs.Do("ovs-ofctl", [.. bundle ? ["--bundle"] : Array.Empty<string>(), "add-flows", $"unix:{Socket}", file]);
        return Result(bundle ? Text($"ovs-ofctl, one bundle of {count:N0}") : "ovs-ofctl, a stream of flows", count, start, cpu, [Stopwatch.GetElapsedTime(start)]);
    }

    public void Dispose() => _ovs.Dispose();

    private LoadResult Result(string name, int count, long start, TimeSpan cpu, List<TimeSpan> times) =>
        // ovs-ofctl ends when the switch has answered, which is when the flows are in its tables.
        new(name, count, count / Stopwatch.GetElapsedTime(start).TotalSeconds, (Cpu - cpu).TotalMicroseconds / count, Latencies.Of(times), Latencies.Of(times));

    private static string Flow(int number) => $"dl_dst={Addresses.Text(number)},actions=output:1";

    private string File(int count)
    {
        string path = _ovs.FileOf(Text($"flows-{_next}"));
        System.IO.File.WriteAllLines(path, Enumerable.Range(_next, count).Select(Flow));
        _next += count;
        return path;
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
