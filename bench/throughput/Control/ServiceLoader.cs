using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Engine;
using Dataplane.Control.Ports;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Control.State.Sqlite;
using Dataplane.Memory;
using Dataplane.ThroughputBench.Harness;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dataplane.ThroughputBench.Control;

/// <summary>How much is loaded.</summary>
/// <param name="Services">Services, each with one cluster IP and one port.</param>
/// <param name="Backends">Backends of each.</param>
/// <param name="Changes">Changes of one backend each.</param>
public sealed record ServiceLoad(int Services, int Backends, int Changes);

/// <summary>What a load came to.</summary>
/// <param name="Loaded">The one batch, until it is durable and a worker would find it.</param>
/// <param name="Heap">Bytes of the control process for it, live after a collection.</param>
/// <param name="Segment">Bytes of the segment.</param>
/// <param name="Changes">One change, until it is durable and a worker would find it.</param>
/// <param name="TakenOver">Another process: reads the state and compares it with the segment.</param>
public sealed record ServiceLoadResult(TimeSpan Loaded, long Heap, long Segment, Latencies Changes, TimeSpan TakenOver);

/// <summary>
/// The control plane from the check of a batch to the commit, in this process: a batch of that size does not fit into a message of the
/// API. There is no engine and no device, for services have neither.
/// </summary>
public static class ServiceLoader
{
    private const int Seed = 7;

    public static ServiceLoadResult Run(ServiceLoad load, string file, CancellationToken cancel)
    {
        using Segment segment = Segment.CreatePrivate(new SegmentOptions
        {
            MaxFrontends = (2 * load.Services) + 1024,
            MaxBackends = (load.Services * load.Backends) + load.Changes + 1024,
            BackendSetBytes = 2L * load.Services * (16 + (8 * load.Backends) + 64) + (1 << 20),
        });
        long before = GC.GetTotalMemory(forceFullCollection: true);
        TimeSpan loaded;
        long heap;
        Latencies changes;
        using (var store = new SqliteStore(file))
        using (Controller controller = Make(segment, store))
        {
            controller.ResumeAsync(cancel).GetAwaiter().GetResult();
            loaded = Load(controller, load, cancel);
            heap = GC.GetTotalMemory(forceFullCollection: true) - before;
            changes = Change(controller, load, cancel);
        }
        long start = Stopwatch.GetTimestamp();
        using (var store = new SqliteStore(file))
        using (Controller controller = Make(segment, store))
        {
            controller.ResumeAsync(cancel).GetAwaiter().GetResult();
        }
        return new ServiceLoadResult(loaded, heap, (long)segment.Header.Length, changes, Stopwatch.GetElapsedTime(start));
    }

    private static Controller Make(Segment segment, SqliteStore store) =>
        new(segment, store, new NoEngine(), new NoDevices(), new NoDevices(), TimeProvider.System, NullLogger<Controller>.Instance);

    private static TimeSpan Load(Controller controller, ServiceLoad load, CancellationToken cancel)
    {
        var resources = new List<Resource>(load.Services * (1 + load.Backends));
        for (int s = 0; s < load.Services; s++)
        {
            resources.Add(ResourceKeys.Of(new Service { Name = Name(s), ClusterIps = { Address(0x0A60_0000, s) }, Ports = { new ServicePort { Port = 80, TargetPort = 8080 } } }));
            resources.AddRange(Enumerable.Range(0, load.Backends).Select(b => ResourceKeys.Of(Backend(load, s, b))));
        }
        var batch = new Batch { Apply = resources };
        long start = Stopwatch.GetTimestamp();
        controller.CommitAsync(batch, dryRun: false, cancel).GetAwaiter().GetResult();
        return Stopwatch.GetElapsedTime(start);
    }

    private static Latencies Change(Controller controller, ServiceLoad load, CancellationToken cancel)
    {
        var random = new Random(Seed);
        var times = new List<TimeSpan>();
        for (int i = -200; i < load.Changes; i++)
        {
            Backend backend = Backend(load, random.Next(load.Services), random.Next(load.Backends));
            backend.Weight = (uint)(i + 300);
            var batch = new Batch { Apply = [ResourceKeys.Of(backend)] };
            long start = Stopwatch.GetTimestamp();
            controller.CommitAsync(batch, dryRun: false, cancel).GetAwaiter().GetResult();
            if (i >= 0) // the first ones compile code
            {
                times.Add(Stopwatch.GetElapsedTime(start));
            }
        }
        return Latencies.Of(times);
    }

    private static Backend Backend(ServiceLoad load, int service, int backend) =>
        new() { Service = Name(service), Address = Address(0x0B00_0000, (service * load.Backends) + backend) };

    private static string Name(int service) => string.Create(CultureInfo.InvariantCulture, $"service-{service:D6}");

    private static string Address(int first, int offset)
    {
        int address = first + offset;
        return string.Create(CultureInfo.InvariantCulture, $"{address >> 24}.{(address >> 16) & 255}.{(address >> 8) & 255}.{address & 255}");
    }

    private sealed class NoEngine : IEngineLink
    {
        public string? WhyUnavailable => null;
        public bool IsFailing => false;
        public IReadOnlyList<AttachedPort> Attached() => [];
        public void Attach(int index, string name, DeviceSpec device, IReadOnlyList<int> fds) => throw new NotSupportedException();
        public void Detach(int index) => throw new NotSupportedException();
        public void Assign(int index, int queue, int worker) => throw new NotSupportedException();
        public IReadOnlyList<int> Fds(int index) => throw new NotSupportedException();
    }

    private sealed class NoDevices : IPortDevices, IPciPorts
    {
        public DeviceProblem? Probe(DeviceSpec spec) => throw new NotSupportedException();
        public IPortDevice Create(DeviceSpec spec, int queues) => throw new NotSupportedException();
        public IPortDevice Adopt(DeviceSpec spec, IReadOnlyList<int> fds) => throw new NotSupportedException();
        public void Prepare(DeviceSpec spec, string port) => throw new NotSupportedException();
        public IReadOnlyList<string> GiveBack(IReadOnlySet<string> wanted) => [];
    }
}
