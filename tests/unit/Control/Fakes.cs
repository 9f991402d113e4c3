using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Engine;
using Dataplane.Control.Ports;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dataplane.UnitTests.Control;

/// <summary>A clock that stands still until it is told to go on.</summary>
internal sealed class ManualTime : TimeProvider
{
    private DateTimeOffset _now = new(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);

    public override DateTimeOffset GetUtcNow() => _now;
    public override long GetTimestamp() => _now.Ticks;
    public override long TimestampFrequency => TimeSpan.TicksPerSecond;
    public void Advance(TimeSpan time) => _now += time;
}

/// <summary>An engine that does what it is told and writes port states into a private segment.</summary>
internal sealed unsafe class FakeEngine(Segment segment) : IEngineLink
{
    public Dictionary<int, AttachedPort> Ports { get; } = [];
    public Dictionary<int, int[]> Descriptors { get; } = [];
    public List<string> Log { get; } = [];

    /// <summary>How many forward.</summary>
    public const int Workers = 2;

    /// <summary>Names of ports that are refused.</summary>
    public HashSet<string> Refuses { get; } = [];

    /// <summary>As the real one does: a port that is taken off and put on again stays blocked.</summary>
    public bool KeepsErrDisabled { get; set; }

    public string? WhyUnavailable { get; set; }
    public bool IsFailing { get; set; }

    public IReadOnlyList<AttachedPort> Attached() => [.. Ports.Values];

    public void Attach(int index, string name, DeviceSpec device, IReadOnlyList<int> fds)
    {
        CheckAvailable();
        if (Refuses.Contains(name))
        {
            throw new EngineRefusedException($"no device for {name}");
        }
        Assert.False(Ports.ContainsKey(index), $"index {index} is attached already");
        Ports.Add(index, new AttachedPort(index, name, device.EngineSpec, [0]));
        Descriptors[index] = [.. fds];
        SetState(index, PortState.Up);
        Log.Add($"attach {name}");
    }

    public void Detach(int index)
    {
        CheckAvailable();
        if (Ports.Remove(index, out AttachedPort? port))
        {
            SetState(index, PortState.Detached);
            Log.Add($"detach {port.Name}");
        }
    }

    public void Assign(int index, int queue, int worker)
    {
        CheckAvailable();
        int[] workers = Ports.TryGetValue(index, out AttachedPort? port) ? [.. port.Workers] : throw new EngineRefusedException($"no port {index} is attached");
        if (queue >= workers.Length || worker >= Workers)
        {
            throw new EngineRefusedException($"no queue {queue} or no worker {worker}");
        }
        workers[queue] = worker;
        Ports[index] = port with { Workers = workers };
    }

    public IReadOnlyList<int> Fds(int index) => Descriptors[index];

    private void SetState(int index, PortState state)
    {
        if (!KeepsErrDisabled || segment.PortRuntime[index].State != PortState.ErrDisabled)
        {
            segment.PortRuntime[index].State = state;
        }
    }

    private void CheckAvailable()
    {
        if (WhyUnavailable is { } reason)
        {
            throw new EngineUnavailableException(reason);
        }
    }
}

/// <summary>TAP devices in a kernel that exists only here.</summary>
internal sealed class FakeDevices : IPortDevices
{
    public HashSet<string> Namespaces { get; } = ["", "web", "db"];
    public Dictionary<string, FakeDevice> Existing { get; } = [];
    public List<string> Log { get; } = [];

    /// <summary>Names of devices whose creation fails, although nothing showed before.</summary>
    public HashSet<string> Fails { get; } = [];

    public static string Key(DeviceSpec spec) => $"{spec.Netns}/{spec.Device}";

    public DeviceProblem? Probe(DeviceSpec spec) =>
        !Namespaces.Contains(spec.Netns) ? new DeviceProblem("tap.netns", $"network namespace \"{spec.Netns}\" does not exist")
        : Existing.ContainsKey(Key(spec)) ? new DeviceProblem("tap.device", $"device \"{spec}\" exists already")
        : null;

    public IPortDevice Create(DeviceSpec spec, int queues)
    {
        if (Fails.Contains(spec.Device))
        {
            throw new DeviceException(new DeviceProblem("tap", $"device {spec}: no room", "make room"));
        }
        var device = new FakeDevice(this, spec, queues);
        Existing.Add(Key(spec), device);
        Log.Add($"create {spec}");
        return device;
    }

    public IPortDevice Adopt(DeviceSpec spec, IReadOnlyList<int> fds) => Existing.TryGetValue(Key(spec), out FakeDevice? device)
        ? device
        : throw new DeviceException(new DeviceProblem("tap.device", "is gone"));
}

internal sealed class FakeDevice(FakeDevices kernel, DeviceSpec spec, int queues) : IPortDevice
{
    public DeviceSpec Spec { get; private set; } = spec;
    public bool Connected { get; private set; }
    public string? Lost { get; set; }
    public IReadOnlyList<int> Fds { get; } = [.. Enumerable.Range(100, queues)];
    public int IfIndex => 7;

    public void Connect() => Connected = true;

    public void Update(DeviceSpec spec)
    {
        if (kernel.Fails.Contains($"update {spec.Device}"))
        {
            throw new DeviceException(new DeviceProblem("tap", $"device \"{spec}\" cannot be changed"));
        }
        Spec = spec;
    }

    /// <summary>Prefixes that the host reaches by way of the router.</summary>
    public HashSet<string> Routes { get; } = [];

    public void Route(IReadOnlyCollection<Cidr> add, IReadOnlyCollection<Cidr>? remove)
    {
        if (kernel.Fails.Contains($"route {Spec.Device}"))
        {
            throw new DeviceException(new DeviceProblem("tap", "the network is unreachable"));
        }
        Routes.RemoveWhere(r => remove is null || remove.Any(p => p.ToString() == r));
        Routes.UnionWith(add.Select(p => p.ToString()));
    }

    public string? WhyLost() => Lost;

    public void Dispose()
    {
        kernel.Existing.Remove(FakeDevices.Key(Spec));
        kernel.Log.Add($"close {Spec}");
    }
}

/// <summary>PCI functions that exist only here, all of them a kernel driver's at first.</summary>
internal sealed class FakePci : IPciPorts
{
    /// <summary>Functions that were taken from the kernel, with the port they were taken for.</summary>
    public Dictionary<string, string> Bound { get; } = [];

    /// <summary>Functions that the host uses.</summary>
    public HashSet<string> Busy { get; } = [];

    public DeviceProblem? Probe(DeviceSpec spec) =>
        spec.PciAddress is not { } address || Bound.ContainsKey(address) ? null
        : !spec.Bind ? new DeviceProblem("dpdk.devargs", $"{address} belongs to the kernel", "set dpdk.bind")
        : Busy.Contains(address) ? new DeviceProblem("dpdk.devargs", $"{address} is up")
        : null;

    public void Prepare(DeviceSpec spec, string port)
    {
        if (Probe(spec) is { } problem)
        {
            throw new DeviceException(problem);
        }
        if (spec.PciAddress is { } address)
        {
            Bound.TryAdd(address, port);
        }
    }

    public IReadOnlyList<string> GiveBack(IReadOnlySet<string> wanted)
    {
        foreach (string address in Bound.Keys.Where(a => !wanted.Contains(a)).ToList())
        {
            Bound.Remove(address);
        }
        return [];
    }
}

/// <summary>Keeps the state in memory, and can be told to fail.</summary>
internal sealed class FakeStore(DesiredState? saved = null) : IStateStore
{
    public DesiredState Saved { get; private set; } = saved ?? DesiredState.Empty;
    public bool Fails { get; set; }

    public string Location => "memory";

    public DesiredState Load() => Saved;

    public bool SavesTogether => true;

    /// <summary>How many changes were saved at once, time after time.</summary>
    public List<int> Saves { get; } = [];

    /// <summary>Called at each time before anything is saved.</summary>
    public Action<int>? Saving { get; set; }

    public void Save(StateChange change) => Save([change]);

    public void Save(IReadOnlyList<StateChange> changes)
    {
        if (Fails)
        {
            throw new StateStoreException("no space left on device");
        }
        Saving?.Invoke(changes.Count);
        DesiredState last = Saved;
        foreach (StateChange change in changes)
        {
            Assert.Same(last, change.Before);
            last = change.After;
        }
        Saved = last;
        Saves.Add(changes.Count);
    }

    public void Dispose()
    {
    }
}

/// <summary>A controller over private memory and a kernel and an engine of cardboard.</summary>
internal sealed class Bench : IDisposable
{
    public Bench(IStateStore? store = null, SegmentOptions? options = null)
    {
        Segment = Segment.CreatePrivate(options);
        Engine = new FakeEngine(Segment);
        Store = store ?? new FakeStore();
        Controller = NewController();
    }

    public Segment Segment { get; }
    public FakeEngine Engine { get; }
    public FakeDevices Devices { get; } = new();
    public FakePci Pci { get; } = new();
    public ManualTime Clock { get; } = new();
    public IStateStore Store { get; }
    public Controller Controller { get; set; }

    /// <summary>As a new control process would begin: with the same store, segment, engine and kernel.</summary>
    public Controller NewController() => new(Segment, Store, Engine, Devices, Pci, Clock, NullLogger<Controller>.Instance);

    public Task<CommitResult> Apply(params Resource[] resources) => Apply(dryRun: false, resources);

    public Task<CommitResult> Apply(bool dryRun, params Resource[] resources) =>
        Controller.CommitAsync(new Batch { Apply = resources }, dryRun, CancellationToken.None);

    public Task<CommitResult> Delete(params (Kind Kind, string Name)[] keys) => Controller.CommitAsync(
        new Batch { Delete = [.. keys.Select(k => new ResourceKey { Kind = k.Kind, Name = k.Name })] }, dryRun: false, CancellationToken.None);

    public PortStatus StatusOf(string port) => Controller.Status.With(Controller.State, Controller.State.Ports[port]).Status;

    public PortRecord RecordOf(string port) => Segment.Port(Controller.State.Ports[port].Index, Segment.Generation);

    public void Dispose()
    {
        Controller.Dispose();
        Segment.Dispose();
    }
}

/// <summary>Resources in one line.</summary>
internal static class Make
{
    public static Resource Net(string name, string subnet = "", string gateway = "", Action<Network>? more = null)
    {
        var network = new Network { Name = name };
        network.Subnets.Add(subnet.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        network.Gateways.Add(gateway.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        more?.Invoke(network);
        return ResourceKeys.Of(network);
    }

    public static Resource Tap(string name, string network, string address = "", string netns = "", Action<Port>? more = null)
    {
        var port = new Port { Name = name, Network = network, Tap = new Tap { Netns = netns } };
        port.Tap.Addresses.Add(address.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        more?.Invoke(port);
        return ResourceKeys.Of(port);
    }

    public static Resource Memory(string name, string network, Action<Port>? more = null)
    {
        var port = new Port { Name = name, Network = network, Memory = new Dataplane.Control.Api.V1.Memory() };
        more?.Invoke(port);
        return ResourceKeys.Of(port);
    }

    /// <summary>A routed port on memory.</summary>
    public static Resource Routed(string name, string address = "", Action<Port>? more = null)
    {
        var port = new Port { Name = name, Routed = new Routed(), Memory = new Dataplane.Control.Api.V1.Memory() };
        port.Routed.Addresses.Add(address.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        more?.Invoke(port);
        return ResourceKeys.Of(port);
    }

    public static Resource Peer(string name, string network, string address, string mac = "", Action<TunnelPeer>? more = null)
    {
        var peer = new TunnelPeer { Name = name, Network = network, Address = address, Mac = mac };
        more?.Invoke(peer);
        return ResourceKeys.Of(peer);
    }

    public static Resource Neighbour(string network, string address, string mac, Action<Neighbour>? more = null)
    {
        var neighbour = new Neighbour { Network = network, Address = address, Mac = mac };
        more?.Invoke(neighbour);
        return ResourceKeys.Of(neighbour);
    }

    /// <summary>A route by way of addresses, or of nothing.</summary>
    public static Resource Route(string prefix, string via = "", Action<Route>? more = null)
    {
        var route = new Route { Prefix = prefix };
        route.NextHops.Add(via.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(v => new NextHop { Via = v }));
        more?.Invoke(route);
        return ResourceKeys.Of(route);
    }

    /// <summary>A service with ports such as "80", "53/udp", "http:80->8080", "80^30080" (node port).</summary>
    public static Resource Service(string name, string clusterIps, string ports = "80", Action<Service>? more = null)
    {
        var service = new Service { Name = name };
        service.ClusterIps.Add(clusterIps.Split(' ', StringSplitOptions.RemoveEmptyEntries));
        foreach (string text in ports.Split(' ', StringSplitOptions.RemoveEmptyEntries))
        {
            System.Text.RegularExpressions.Match m = System.Text.RegularExpressions.Regex.Match(text, @"^(?:(\w+):)?(\d+)(?:->(\d+))?(?:\^(\d+))?(?:/(\w+))?$");
            service.Ports.Add(new ServicePort
            {
                Name = m.Groups[1].Value,
                Port = uint.Parse(m.Groups[2].Value, System.Globalization.CultureInfo.InvariantCulture),
                TargetPort = m.Groups[3].Success ? uint.Parse(m.Groups[3].Value, System.Globalization.CultureInfo.InvariantCulture) : 0,
                NodePort = m.Groups[4].Success ? uint.Parse(m.Groups[4].Value, System.Globalization.CultureInfo.InvariantCulture) : 0,
                Protocol = m.Groups[5].Value switch { "udp" => TransportProtocol.Udp, "sctp" => TransportProtocol.Sctp, _ => TransportProtocol.Tcp },
            });
        }
        more?.Invoke(service);
        return ResourceKeys.Of(service);
    }

    public static Resource Backend(string service, string address, Action<Backend>? more = null)
    {
        var backend = new Backend { Service = service, Address = address };
        more?.Invoke(backend);
        return ResourceKeys.Of(backend);
    }

    public static Resource Published(string name, string address, uint targetPort, uint hostPort = 0, Action<PublishedPort>? more = null)
    {
        var published = new PublishedPort { Name = name, Address = address, TargetPort = targetPort, HostPort = hostPort };
        more?.Invoke(published);
        return ResourceKeys.Of(published);
    }

    public static Resource Mac(string network, string mac, string port = "", uint vlan = 0)
    {
        var entry = new StaticMac { Network = network, Mac = mac, Vlan = vlan };
        if (port.Length > 0)
        {
            entry.Port = port;
        }
        else
        {
            entry.Drop = true;
        }
        return ResourceKeys.Of(entry);
    }
}
