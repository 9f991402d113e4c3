using System.CommandLine;
using System.Runtime.CompilerServices;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Daemon;
using Dataplane.Control.Engine;
using Dataplane.Control.Manifests;
using Dataplane.Control.State.Etcd;
using Dataplane.Memory;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane run</c></summary>
internal static class RunCommand
{
    public const string Name = "run";

    private static readonly SegmentOptions Defaults = new();

    private static readonly Option<string> Config = new("--config", "-c") { Description = "YAML or JSON file, or directory, of networks, ports, routes and so on to begin with", HelpName = "FILE" };
    private static readonly Option<int> Workers = new("--workers") { Description = "Forwarding threads", HelpName = "N", DefaultValueFactory = _ => 1 };
    private static readonly Option<string> Cores = new("--cores") { Description = "CPUs to pin the workers to, such as 2-3,5 (default: not pinned)", HelpName = "LIST" };
    private static readonly Option<bool> Distribute = new("--distribute") { Description = "Share the packets of ports with one receive queue among the workers, by their flows" };
    private static readonly Option<bool> Balance = new("--balance") { Description = "Move receive queues from busy workers to idle ones" };
    private static readonly Option<bool> BusyPoll = new("--busy-poll") { Description = "Workers never sleep: lowest latency, a whole CPU each" };
    private static readonly Option<bool> Hugepages = new("--hugepages") { Description = "Packet buffers in hugepages, and DPDK's PCI devices" };
    private static readonly Option<int?> Memory = new("--memory") { Description = "MiB for packet buffers (default: the engine's)", HelpName = "MIB" };
    private static readonly Option<int> MacCapacity = Size("--mac-capacity", "MAC addresses that must fit", Defaults.MacCapacity);
    private static readonly Option<int> MaxPorts = Size("--max-ports", "Ports that must fit, routers of networks and tunnel peers among them, at most 1023", Defaults.MaxPorts - 1);
    private static readonly Option<int> MaxNetworks = Size("--max-networks", "Networks that must fit, at most 4095", Defaults.MaxBridges - 1);
    private static readonly Option<int> NeighbourCapacity = Size("--neighbour-capacity", "Neighbours of all interfaces that must fit", Defaults.NeighbourCapacity);
    private static readonly Option<int> MaxVrfs = Size("--max-vrfs", "VRFs that must fit, main among them, at most 4095", Defaults.MaxVrfs - 1);
    private static readonly Option<int> RouteMemory = new("--route-memory") { Description = "MiB for the routes of all VRFs, up to 4096", HelpName = "MIB", DefaultValueFactory = _ => (int)(Defaults.RouteBytes >> 20) };
    private static readonly Option<int> MaxNextHops = Size("--max-next-hops", "Different next hops of routes that must fit, at most 16777215", Defaults.MaxNextHops - 1);
    private static readonly Option<int> MaxNextHopGroups = Size("--max-next-hop-groups", "Different sets of several next hops that must fit, at most 65536", Defaults.MaxNextHopGroups);
    private static readonly Option<int> MaxFrontends = Size("--max-frontends", "Ports and addresses of services that must fit, at most 4194303: one per address and VRF, and one more per port", Defaults.MaxFrontends - 1);
    private static readonly Option<int> MaxBackends = Size("--max-backends", "Ports of backends that must fit, at most 16777215", Defaults.MaxBackends - 1);
    private static readonly Option<int> ServiceMemory = new("--service-memory") { Description = "MiB for sets of backends, up to 65536; a set takes 16 bytes and 8 for each backend, 128 KiB more with Maglev", HelpName = "MIB", DefaultValueFactory = _ => (int)(Defaults.BackendSetBytes >> 20) };
    private static readonly Option<int> MaxNatPools = Size("--max-nat-pools", "Routed ports with addresses for masquerade that must fit, at most 1023", Defaults.MaxNatPools - 1);
    private static readonly Option<int> ConnectionCapacity = Size("--connection-capacity", "IPv4 connections to services and of masquerade that must fit, at most 16777216; a quarter as many of IPv6. 256 bytes each, and of IPv6 512", Defaults.ConnectionCapacity);
    private static readonly Option<string> SocketGroup = new("--socket-group") { Description = "Group that may use the API besides root", HelpName = "GROUP" };
    private static readonly Option<bool> KeepEngine = new("--keep-engine") { Description = "When ended leave the engine forwarding; the next run takes it over" };
    private static readonly Option<string> Engine = new("--engine") { Description = "The engine's executable (default: $DATAPLANE_ENGINE, or beside this program)", HelpName = "PATH" };

    private static readonly Option<string> StateDirectory = new("--state-dir") { Description = "Keep desired state in this directory, through every end and a reboot (default: an orderly end forgets it)", HelpName = "DIR" };
    private static readonly Option<string> Store = new("--store") { Description = "Where desired state is: etcd://HOST:PORT[,HOST:PORT]/PREFIX, shared by the nodes of a cluster (default: a file of this instance)", HelpName = "URL" };
    private static readonly Option<string> StoreCa = new("--store-ca") { Description = "PEM file of the authority that signed etcd's certificate; turns TLS on", HelpName = "FILE" };
    private static readonly Option<string> StoreCert = new("--store-cert") { Description = "PEM file of this node's certificate for etcd", HelpName = "FILE" };
    private static readonly Option<string> StoreKey = new("--store-key") { Description = "PEM file of its key", HelpName = "FILE" };
    private static readonly Option<string> StoreUser = new("--store-user") { Description = $"User of etcd; its password is in --store-password-file or ${EtcdOptions.PasswordVariable}", HelpName = "NAME" };
    private static readonly Option<string> StorePasswordFile = new("--store-password-file") { Description = "File whose first line is the password of --store-user", HelpName = "FILE" };
    private static readonly Option<string> Node = new("--node") { Description = "Name of this node in the cluster; its ports are stored under it (default: the host's name)", HelpName = "NAME" };

    public static Command Build() => new Command(Name, "Start the switch: this process, which serves the API, and the engine, which forwards packets")
    {
        Config, Workers, Cores, BusyPoll, Hugepages, Memory, MacCapacity, MaxPorts, MaxNetworks, NeighbourCapacity, MaxVrfs, RouteMemory, MaxNextHops, MaxNextHopGroups,
        MaxFrontends, MaxBackends, ServiceMemory, MaxNatPools, ConnectionCapacity, SocketGroup, KeepEngine, Engine,
        StateDirectory, Store, StoreCa, StoreCert, StoreKey, StoreUser, StorePasswordFile, Node,
        FlannelRunOptions.Enabled, FlannelRunOptions.Prefix, FlannelRunOptions.SubnetFile, FlannelRunOptions.Underlay, FlannelRunOptions.PublicIP, FlannelRunOptions.PublicIPv6,
        Distribute, Balance,
        ListenOptions.Listen, ListenOptions.Certificate, ListenOptions.Key, ListenOptions.ClientAuthorities,
    }.Does((parsed, _) => RunAsync(Read(parsed)))
        .WithExamples(
            "dataplane run",
            "dataplane run --config switch.yaml --socket-group docker",
            "dataplane run --state-dir /var/lib/dataplane              as a service: networks and ports come back after a reboot",
            "dataplane run --store etcd://etcd1:2379,etcd2:2379/dataplane --store-ca ca.pem --store-cert node.pem --store-key node.key",
            "dataplane run --store etcd://etcd1:2379/dataplane --flannel --underlay uplink --config node.yaml     a node of a flannel network",
            "dataplane run --workers 2 --cores 2-3 --busy-poll --hugepages --mac-capacity 1000000",
            "dataplane run --listen 10.0.0.1:7411 --tls-cert server.pem --tls-key server.key --tls-client-ca clients.pem",
            "",
            "Over TCP a client's certificate says what it may do: the organisational unit (OU) of its subject is read-only or",
            "read-write. On the unix socket root and the group may do everything, nobody else anything.",
            "",
            "switch.yaml:",
            "  networks:",
            "  - name: blue",
            "    subnets: [172.18.0.0/16]",
            "    gateways: [172.18.0.1]",
            "  ports:",
            "  - name: dp0",
            "    network: blue",
            "    tap: {host: true}",
            "  - name: web",
            "    network: blue",
            "    tap: {netns: web, addresses: [172.18.0.2/16], default_route: true}",
            "",
            "Ctrl-C or SIGTERM ends both processes and removes devices, segment and sockets. When this process is killed,",
            "the engine goes on, and the next run takes it over.");

    private static DaemonOptions Read(ParseResult parsed)
    {
        string instance = parsed.GetRequiredValue(Options.Instance);
        if (!InstancePaths.IsValidName(instance))
        {
            throw new CommandException(ExitCode.Usage, $"\"{instance}\" cannot be the name of an instance: 1 to 32 letters, digits, hyphens");
        }
        int workers = parsed.GetValue(Workers);
        if (workers is < 1 or > SegmentOptions.WorkerLimit)
        {
            throw new CommandException(ExitCode.Usage, $"--workers goes from 1 to {SegmentOptions.WorkerLimit}");
        }
        TlsEndpoint? tcp = ListenOptions.Read(parsed);
        EtcdOptions? etcd = ReadEtcd(parsed);
        return new DaemonOptions
        {
            Paths = InstancePaths.Of(instance),
            Engine = new EngineCommand
            {
                Executable = parsed.GetValue(Engine) ?? FindEngine(),
                Workers = workers,
                Cores = parsed.GetValue(Cores),
                BusyPoll = parsed.GetValue(BusyPoll),
                Balance = parsed.GetValue(Balance),
                Distribute = parsed.GetValue(Distribute),
                Hugepages = parsed.GetValue(Hugepages),
                Memory = parsed.GetValue(Memory),
            },
            Segment = new SegmentOptions
            {
                MaxWorkers = Math.Max(workers, Defaults.MaxWorkers),
                MaxPorts = parsed.GetValue(MaxPorts) + 1,
                MaxBridges = parsed.GetValue(MaxNetworks) + 1,
                MacCapacity = parsed.GetValue(MacCapacity),
                NeighbourCapacity = parsed.GetValue(NeighbourCapacity),
                MaxVrfs = parsed.GetValue(MaxVrfs) + 1,
                RouteBytes = (long)parsed.GetValue(RouteMemory) << 20,
                MaxNextHops = parsed.GetValue(MaxNextHops) + 1,
                MaxNextHopGroups = parsed.GetValue(MaxNextHopGroups),
                MaxFrontends = parsed.GetValue(MaxFrontends) + 1,
                MaxBackends = parsed.GetValue(MaxBackends) + 1,
                BackendSetBytes = (long)parsed.GetValue(ServiceMemory) << 20,
                MaxNatPools = parsed.GetValue(MaxNatPools) + 1,
                ConnectionCapacity = parsed.GetValue(ConnectionCapacity),
            },
            Config = parsed.GetValue(Config) is { } config ? ManifestReader.ReadPath(config) : [],
            StateDirectory = parsed.GetValue(StateDirectory) is { Length: > 0 } directory ? Path.GetFullPath(directory) : null,
            Etcd = etcd,
            Flannel = FlannelRunOptions.Read(parsed, hasEtcd: etcd is not null),
            SocketGroup = parsed.GetValue(SocketGroup),
            Tcp = tcp,
            KeepEngine = parsed.GetValue(KeepEngine),
        };
    }

    private static EtcdOptions? ReadEtcd(ParseResult parsed)
    {
        if (parsed.GetValue(Store) is not { } location)
        {
            return new Option[] { StoreCa, StoreCert, StoreKey, StoreUser, StorePasswordFile, Node }.FirstOrDefault(o => parsed.GetResult(o) is not null) is { } alone
                ? throw new CommandException(ExitCode.Usage, $"{alone.Name} goes with --store etcd://...")
                : null;
        }
        string node = parsed.GetValue(Node) ?? Environment.MachineName;
        if (node.Length == 0 || node.Contains('/', StringComparison.Ordinal))
        {
            throw new CommandException(ExitCode.Usage, $"\"{node}\" cannot be the name of a node");
        }
        if (parsed.GetValue(StoreCert) is null != parsed.GetValue(StoreKey) is null)
        {
            throw new CommandException(ExitCode.Usage, "--store-cert and --store-key go together");
        }
        try
        {
            (IReadOnlyList<string> servers, string prefix) = EtcdOptions.Parse(location);
            return new EtcdOptions
            {
                Servers = servers,
                Prefix = prefix,
                Node = node,
                AuthorityFile = parsed.GetValue(StoreCa),
                CertificateFile = parsed.GetValue(StoreCert),
                KeyFile = parsed.GetValue(StoreKey),
                User = parsed.GetValue(StoreUser),
                PasswordFile = parsed.GetValue(StorePasswordFile),
            };
        }
        catch (FormatException e)
        {
            throw new CommandException(ExitCode.Usage, $"--store: {e.Message}");
        }
    }

    private static string FindEngine() => EngineCommand.Find(out IReadOnlyList<string> tried)
        ?? throw new CommandException(ExitCode.Failed, $"dataplane-engine was not found; build it with `./build.sh build`, or name it with --engine (looked at {string.Join(", ", tried)})");

    /// <summary>Not inlined: everything below loads the web server, which the other commands do without.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<int> RunAsync(DaemonOptions options)
    {
        using ILoggerFactory logging = LoggerFactory.Create(log => log
            .AddSimpleConsole(console =>
            {
                console.SingleLine = true;
                console.TimestampFormat = "HH:mm:ss.fff ";
            })
            .AddFilter("Microsoft", LogLevel.Warning)
            .AddFilter("Microsoft.Extensions.Diagnostics.HealthChecks", LogLevel.None)
            .AddFilter("Grpc", LogLevel.Warning));
        try
        {
            await new DaemonProcess(options, logging).RunAsync();
            return ExitCode.Success;
        }
        catch (DaemonException e)
        {
            throw new CommandException(ExitCode.Failed, options.Paths.NamedIn(e.Message));
        }
    }

    private static Option<int> Size(string name, string description, int normally) =>
        new(name) { Description = description, HelpName = "N", DefaultValueFactory = _ => normally };
}
