using System.Globalization;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Memory;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Grpc.Core;
using Grpc.Net.Client;

namespace Dataplane.ThroughputBench.Control;

/// <summary>
/// Our daemon and its engine, the programs as they are installed, with a connection to the API and a view of the segment. Its
/// files lie where the benchmark says, so that durable means on a disk.
/// </summary>
public sealed class DaemonSubject : IDisposable
{
    public const string Network = "bench";
    private const int NetworkIndex = 1;
    private static readonly TimeSpan StartTime = TimeSpan.FromSeconds(60);
    private static int s_count;

    private readonly ChildProcess _process;
    private readonly GrpcChannel _channel;

    /// <summary>With one worker that never sleeps.</summary>
    /// <param name="directory">For its files.</param>
    /// <param name="macs">Addresses that must fit.</param>
    /// <param name="core">CPU of the worker.</param>
    /// <param name="cancel">Ends the start.</param>
    public DaemonSubject(string directory, int macs, int core, CancellationToken cancel)
        : this(directory, ["--mac-capacity", Text(macs), "--busy-poll", "--cores", Text(core)], cancel)
    {
    }

    /// <param name="directory">For its files.</param>
    /// <param name="options">Options of <c>dataplane run</c>.</param>
    /// <param name="cancel">Ends the start.</param>
    /// <param name="ns">Name of the network namespace that it runs in; this process's own without one.</param>
    public DaemonSubject(string directory, IReadOnlyList<string> options, CancellationToken cancel, string? ns = null)
    {
        string program = Path.Combine(Repository.Root, "out", "control", "dataplane");
        if (!File.Exists(program))
        {
            throw new BenchException($"there is no daemon at {program}: build it with `./build.sh build`");
        }
        string instance = string.Create(CultureInfo.InvariantCulture, $"control-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}");
        // One of its own: the daemon removes it at its end.
        string files = Path.Combine(directory, "run");
        // nsenter becomes the program: its process id is the daemon's.
        string[] command = [program, "run", "--instance", instance, .. options];
        if (ns is not null)
        {
            command = ["/usr/bin/nsenter", $"--net=/run/netns/{ns}", "--", .. command];
        }
        _process = new ChildProcess(
            command[0],
            command[1..],
            directory,
            new Dictionary<string, string> { ["DATAPLANE_RUN_DIR"] = files });
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { UseProxy = false, ConnectCallback = (_, stop) => ConnectAsync(Path.Combine(files, instance, "api.sock"), stop) },
        });
        Resources = new Resources.ResourcesClient(_channel);
        Stats = new Stats.StatsClient(_channel);
        try
        {
            while (_process.ReadLine(StartTime, cancel) is { } line && !line.Contains("Ready", StringComparison.Ordinal))
            {
            }
            if (_process.HasExited)
            {
                throw _process.Failure("did not start");
            }
            Segment = Segment.Open($"/dev/shm/dataplane-{instance}", readOnly: true);
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public Resources.ResourcesClient Resources { get; }

    public Stats.StatsClient Stats { get; }

    /// <summary>The tables, as a worker sees them.</summary>
    public Segment Segment { get; } = null!;

    public string CommandLine => _process.CommandLine;

    /// <summary>Process ids of the control process and of its engine.</summary>
    public int Id => _process.Id;

    public int EngineId => (int)Stats.GetEngine(new GetEngineRequest()).EnginePid;

    public string Version => Stats.GetEngine(new GetEngineRequest()).Version;

    /// <summary>Resident memory of the control process in bytes.</summary>
    public long ResidentBytes => ProcessMemory.Resident(_process.Id);

    /// <summary>CPU time of the control process so far.</summary>
    public TimeSpan Cpu => ProcessMemory.Cpu(_process.Id);

    /// <summary>How long the worker was ready to run and had no CPU.</summary>
    public TimeSpan WorkerWaited => ProcessMemory.Waited(EngineId, "worker-0");

    /// <summary>Packets dropped, for whatever reason.</summary>
    public ulong Dropped => (ulong)Stats.GetDrops(new GetDropsRequest()).Drops.Sum(d => (long)d.Packets);

    /// <summary>Cycles between two polls of the worker, the longest so far.</summary>
    public ulong LongestPoll => Stats.GetWorkers(new GetWorkersRequest()).Workers[0].LongestPollCycles;

    /// <summary>A network, and nothing in it.</summary>
    public void MakeNetwork() => Resources.Apply(new ApplyRequest { Resources = { new Resource { Network = new Network { Name = Network } } } });

    /// <summary>The port of the network that <see cref="Addresses"/> are at: one in memory, which is polled, so that a worker never sleeps for long.</summary>
    public void MakeTarget() =>
        Resources.Apply(new ApplyRequest { Resources = { new Resource { Port = new Port { Name = "target", Network = Network, Memory = new Dataplane.Control.Api.V1.Memory() } } } });

    /// <summary>A container in each network namespace. Gives the MAC addresses of their devices.</summary>
    /// <param name="namespaces">Their names.</param>
    /// <param name="addresses">An IP address with its prefix length for each, or none.</param>
    public string[] MakeContainers(IReadOnlyList<string> namespaces, IReadOnlyList<string>? addresses = null)
    {
        var request = new ApplyRequest
        {
            Resources = { namespaces.Select((ns, i) => new Resource { Port = new Port { Name = $"c{Text(i)}", Network = Network, Tap = Device(ns, addresses?[i]) } }) },
        };
        return [.. Resources.Apply(request).Changes.Select(c => c.Resource.Port.Status.Mac)];
    }

    /// <summary>Whether a worker that looks up this address now finds it.</summary>
    public bool IsVisible(ulong mac) => Segment.Macs.FindIn(Segment.Generation, Tables.MacTable.Key(NetworkIndex, mac)) != 0;

    public void Dispose()
    {
        _channel.Dispose();
        Segment?.Dispose();
        _process.Dispose();
    }

    private static Tap Device(string ns, string? address)
    {
        var tap = new Tap { Netns = ns };
        if (address is not null)
        {
            tap.Addresses.Add(address);
        }
        return tap;
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    private static async ValueTask<Stream> ConnectAsync(string path, CancellationToken cancel)
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(path), cancel);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }
}
