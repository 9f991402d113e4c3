using System.Globalization;
using Dataplane.Memory;
using Dataplane.Protocol;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>
/// Our engine, the program as it is installed. The benchmark plays the control process: it makes the segment, attaches the ports,
/// writes the tables, and then only reads counters, which costs the engine nothing.
/// </summary>
public sealed class EngineSubject(string name, string program) : Subject(name)
{
    private static readonly TimeSpan StartTime = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1);

    /// <summary>TSC frequency in Hz, once the engine has run.</summary>
    public ulong TscHz { get; private set; }

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        string segmentPath = Path.Combine(context.Directory, "segment"), socket = Path.Combine(context.Directory, "engine.sock");
        using Segment segment = Segment.Create(segmentPath, context.Scenario.SegmentOptions);
        using var process = new ChildProcess(program, Arguments(context, segmentPath, socket), context.Directory);
        using EngineClient client = Connect(process, socket, cancel);
        EngineReply hello = client.Hello();
        Version ??= $"{hello.Version}, {hello.Dpdk}";
        TscHz = segment.Header.TscHz;

        var writer = new SegmentWriter(segment);
        writer.Begin();
        context.Scenario.Configure(writer);
        writer.Commit();
        IReadOnlyList<string> devices = context.Devices;
        for (int i = 0; i < devices.Count; i++)
        {
            int index = Scenario.FirstPort + i;
            client.Attach(index, $"port{index}", $"dpdk:{devices[i]}", context.Scenario.Mtu, null, []);
        }

        Settle(context, segment, process, cancel);
        Sleep(WarmUp, cancel);
        var meter = new EngineMeter(segment, context.Settings.Workers, devices.Count, context.Scenario.InnerPorts);
        var windows = new List<Window>();
        EngineReading first = meter.Read(), before = first;
        int count = (int)(TimeSpan.FromSeconds(context.Settings.Seconds) / context.Settings.Window);
        for (int i = 0; i < count; i++)
        {
            Sleep(context.Settings.Window, cancel);
            if (process.HasExited)
            {
                throw process.Failure("ended while it was measured");
            }
            EngineReading after = meter.Read();
            windows.Add(EngineMeter.Between(before, after));
            before = after;
        }

        // Without ports nothing moves any more, and the counters must balance.
        for (int i = 0; i < devices.Count; i++)
        {
            client.Detach(Scenario.FirstPort + i);
        }
        Dictionary<string, object> facts = meter.Facts(first, before);
        foreach ((string key, object value) in context.Scenario.Facts)
        {
            facts[key] = value;
        }
        client.Quit();
        process.WaitForExit(TimeSpan.FromSeconds(5));
        return new RunResult { Windows = windows, CommandLine = process.CommandLine, Facts = facts };
    }

    private static List<string> Arguments(RunContext context, string segment, string socket)
    {
        List<string> arguments =
        [
            "--segment", segment, "--socket", socket, "--workers", Text(context.Settings.Workers), "--busy-poll",
            "--cores", string.Join(',', context.Settings.Cores.Take(context.Settings.Workers)),
            "--memory", Text(context.MemoryMegabytes), "--small-buffers", Text(context.Buffers),
        ];
        if (context.Settings.Burst != RunSettings.FullBurst)
        {
            arguments.AddRange("--burst", Text(context.Settings.Burst));
        }
        if (context.Scenario.Packets.BufferBytes != PacketSizes.Smallest.BufferBytes)
        {
            arguments.AddRange("--buffer-bytes", Text(context.Scenario.Packets.BufferBytes));
        }
        if (context.Settings.Hugepages)
        {
            arguments.Add("--hugepages");
        }
        return arguments;
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static EngineClient Connect(ChildProcess process, string socket, CancellationToken cancel)
    {
        long deadline = Environment.TickCount64 + (long)StartTime.TotalMilliseconds;
        while (true)
        {
            try
            {
                return EngineClient.Connect(socket);
            }
            catch (Interop.Linux.LinuxException) when (!process.HasExited && Environment.TickCount64 < deadline)
            {
                Sleep(TimeSpan.FromMilliseconds(20), cancel);
            }
            catch (Interop.Linux.LinuxException)
            {
                throw process.Failure(process.HasExited ? "did not start" : $"does not listen after {StartTime.TotalSeconds:0} s");
            }
        }
    }

    private static void Settle(RunContext context, Segment segment, ChildProcess process, CancellationToken cancel)
    {
        long deadline = Environment.TickCount64 + (long)SettleTime.TotalMilliseconds;
        while (!context.Scenario.IsSettled(segment, out string progress))
        {
            if (process.HasExited || Environment.TickCount64 > deadline)
            {
                throw process.Failure($"did not settle: {progress}");
            }
            Sleep(TimeSpan.FromMilliseconds(20), cancel);
        }
    }

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }
}
