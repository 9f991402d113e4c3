using System.Globalization;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Protocol;
using Dataplane.Workers;

namespace Dataplane.Host;

/// <summary>The engine's command line.</summary>
internal sealed record EngineArguments
{
    public required string SegmentPath { get; init; }
    public required string SocketPath { get; init; }
    public string? PidFile { get; init; }
    public int Workers { get; init; } = 1;
    public string? Cores { get; init; }
    public bool BusyPoll { get; init; }
    public int MemoryMegabytes { get; init; } = 256;
    public bool Balance { get; init; }
    public bool Distribute { get; init; }
    public int Burst { get; init; } = Worker.BurstSize;
    public int SmallBuffers { get; init; } = 16_384;
    public int BufferBytes { get; init; } = 2048;
    public int LargeBuffers { get; init; } = 512;
    public bool Hugepages { get; init; }
    public bool NewSession { get; init; }
}

/// <summary>From an empty process to a forwarding one, and back. Exit codes: 0 stopped in order, 1 could not start.</summary>
internal static class EngineProcess
{
    public static int Run(EngineArguments arguments)
    {
        try
        {
            return Start(arguments);
        }
        catch (Exception e) when (e is DpdkException or DpdkUnavailableException or LinuxException or SegmentException or ArgumentException or IOException or FormatException)
        {
            Log($"error: {e.Message}");
            return 1;
        }
    }

    /// <summary>Loads DPDK, compares its layout with the one this was compiled for, and says which release it is.</summary>
    public static int PrintDpdk()
    {
        try
        {
            LayoutCheck.Require();
            Console.Out.WriteLine(Eal.Version);
            return 0;
        }
        catch (DpdkUnavailableException e)
        {
            Console.Error.WriteLine(e.Message);
            return 1;
        }
    }

    private static int Start(EngineArguments arguments)
    {
        if (arguments.NewSession)
        {
            LinuxProcess.SetSid();
        }
        using FileLock? only = arguments.PidFile is null ? null : FileLock.Acquire(arguments.PidFile);
        using Segment segment = Segment.Open(arguments.SegmentPath);
        int[] cores = arguments.Cores is null ? [] : CpuAffinity.Parse(arguments.Cores);
        KeepOff(cores.Take(arguments.Workers));

        string prefix = $"dataplane-{Environment.ProcessId}";
        Eal.Init(arguments.Hugepages
            ? Eal.HugePageArguments(arguments.MemoryMegabytes, prefix)
            : Eal.LaptopArguments(arguments.MemoryMegabytes, prefix));

        var options = new EngineOptions
        {
            Workers = arguments.Workers,
            Cores = cores,
            BusyPoll = arguments.BusyPoll,
            Balance = arguments.Balance,
            Distribute = arguments.Distribute,
            Burst = arguments.Burst,
            SmallBuffers = arguments.SmallBuffers,
            BufferBytes = arguments.BufferBytes,
            LargeBuffers = arguments.LargeBuffers,
        };
        using var engine = new Engine(segment, options);
        using var server = new EngineServer(arguments.SocketPath, engine, arguments.SegmentPath, Log);
        using PosixSignalRegistration term = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context => Stop(context, server));
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, context => Stop(context, server));
        engine.Start();
        Log($"forwarding: {options.Workers} worker(s), {Eal.Version}, segment {arguments.SegmentPath}");
        server.Run();
        Log("stopping");
        return 0;
    }

    /// <summary>
    /// A CPU with a worker is the worker's alone, if there are others: housekeeping, the control connections, the threads of DPDK and of the runtime
    /// are all to run elsewhere, as in other poll-mode programs. The workers, which are started later, take their own CPUs.
    /// </summary>
    private static void KeepOff(IEnumerable<int> cores)
    {
        int[] usable = CpuAffinity.Get(), others = [.. usable.Except(cores)];
        if (others.Length != 0 && others.Length != usable.Length)
        {
            CpuAffinity.SetProcess(others);
        }
    }

    private static void Stop(PosixSignalContext context, EngineServer server)
    {
        context.Cancel = true;
        server.Stop();
    }

    private static void Log(string text) =>
        Console.Error.WriteLine($"{DateTime.UtcNow.ToString("HH:mm:ss.fff", CultureInfo.InvariantCulture)} engine: {text}");
}
