using System.Globalization;
using Dataplane.Memory;
using Dataplane.Protocol;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>An engine process that forwards, with its segment. The benchmark is its control process.</summary>
public sealed class RunningEngine : IDisposable
{
    private static readonly TimeSpan StartTime = TimeSpan.FromSeconds(120);
    private static readonly TimeSpan SettleTime = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan StopTime = TimeSpan.FromSeconds(20);

    private readonly RunContext _context;
    private readonly ChildProcess _process;
    private readonly EngineClient _client;

    /// <param name="program">The engine.</param>
    /// <param name="context">Its tables and ports.</param>
    /// <param name="cancel">Ends the start.</param>
    /// <param name="within">A program with its arguments that runs the engine: one that counts what it does, say.</param>
    public RunningEngine(string program, RunContext context, CancellationToken cancel, IReadOnlyList<string>? within = null)
    {
        _context = context;
        string segment = Path.Combine(context.Directory, "segment"), socket = Path.Combine(context.Directory, "engine.sock");
        Segment = Segment.Create(segment, context.Scenario.SegmentOptions);
        List<string> command = [.. within ?? [], program, .. Arguments(context, segment, socket)];
        // A tool that follows every address cannot give a program the room that its collector would like to have.
        Dictionary<string, string>? environment = within is null ? null : new() { ["DOTNET_GCHeapHardLimit"] = "0x4000000" };
        _process = new ChildProcess(ProgramPath.Find(command[0]) ?? command[0], command[1..], context.Directory, environment);
        try
        {
            _client = Connect(_process, socket, cancel);
            EngineReply hello = _client.Hello();
            Version = $"{hello.Version}, {hello.Dpdk}";
            Writer = new SegmentWriter(Segment);
            Writer.Begin();
            context.Scenario.Configure(Writer);
            Writer.Commit();
            Writer.Synchronize(); // as the control process does: a static address costs workers a detour until then
            for (int i = 0; i < context.Devices.Count; i++)
            {
                int index = Scenario.FirstPort + i;
                _client.Attach(index, $"port{index}", $"dpdk:{context.Devices[i]}", context.Scenario.Mtu, null, []);
            }
        }
        catch
        {
            _client?.Dispose();
            _process.Dispose();
            Segment.Dispose();
            throw;
        }
    }

    public string Version { get; }

    public string CommandLine => _process.CommandLine;

    public int Id => _process.Id;

    public Segment Segment { get; }

    /// <summary>The control plane's pen: nobody else writes.</summary>
    public SegmentWriter Writer { get; }

    internal EngineMeter Meter => new(Segment, _context.Settings.Workers, _context.Devices.Count, _context.Scenario.InnerPorts);

    /// <summary>Waits until the engine has learned what it will.</summary>
    public void Settle(CancellationToken cancel)
    {
        long deadline = Environment.TickCount64 + (long)SettleTime.TotalMilliseconds;
        while (!_context.Scenario.IsSettled(Segment, out string progress))
        {
            if (_process.HasExited || Environment.TickCount64 > deadline)
            {
                throw _process.Failure($"did not settle: {progress}");
            }
            Sleep(TimeSpan.FromMilliseconds(20), cancel);
        }
    }

    /// <summary>Waits until so many packets were sent.</summary>
    public void WaitForPackets(long count, CancellationToken cancel)
    {
        while ((long)Meter.Read().Sent < count)
        {
            Check();
            Sleep(TimeSpan.FromMilliseconds(50), cancel);
        }
    }

    /// <summary>What went wrong, with the end of its output.</summary>
    public BenchException Failure(string what) => _process.Failure(what);

    /// <exception cref="BenchException">It has ended.</exception>
    public void Check()
    {
        if (_process.HasExited)
        {
            throw _process.Failure("ended while it was measured");
        }
    }

    /// <summary>Takes its ports away: nothing moves any more.</summary>
    public void DetachPorts()
    {
        for (int i = 0; i < _context.Devices.Count; i++)
        {
            _client.Detach(Scenario.FirstPort + i);
        }
    }

    public void Dispose()
    {
        if (!_process.HasExited)
        {
            try
            {
                _client.Quit();
                _process.WaitForExit(StopTime);
            }
            catch (Exception e) when (e is EngineException or Interop.Linux.LinuxException)
            {
                // It is on its way out, or is ended now.
            }
        }
        _client.Dispose();
        _process.Dispose();
        Segment.Dispose();
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

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }
}
