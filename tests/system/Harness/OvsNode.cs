namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A node whose container's frames Open vSwitch switches and encapsulates, with its datapath in user space: a bridge with the
/// container and a port per tunnel, and another with the underlay's device and the node's address. Database, sockets and programs are
/// the test's own.
/// </summary>
public sealed class OvsNode : IDisposable
{
    private const string Schema = "/usr/share/openvswitch/vswitch.ovsschema", Integration = "br-int", Physical = "br-phy";

    private readonly string _directory = Directory.CreateTempSubdirectory("dpsys-ovs-").FullName;
    private readonly Dictionary<string, string> _environment;
    private readonly Tool _database;
    private readonly Tool? _switch;
    private readonly Namespace _container;

    /// <param name="number">Of the node, as for <see cref="StretchedNode"/>.</param>
    public OvsNode(int number)
    {
        Number = number;
        Namespace = new Namespace($"ovs{number}");
        _container = new Namespace($"pod{number}");
        _environment = new Dictionary<string, string> { ["OVS_RUNDIR"] = _directory, ["OVS_LOGDIR"] = _directory, ["OVS_DBDIR"] = _directory };
        string file = Path.Combine(_directory, "conf.db"), socket = Path.Combine(_directory, "db.sock");
        Tool.Run(["ovsdb-tool", "create", file, Schema], _environment).Succeeds();
        _database = Start("ovsdb-server", file, $"--remote=punix:{socket}", $"--unixctl={_directory}/db.ctl");
        try
        {
            Until.True(() => File.Exists(socket), "the database answers", () => _database.Error);
            // --disable-system: never the machine's own datapath.
            _switch = Start("ovs-vswitchd", $"unix:{socket}", "--disable-system", $"--unixctl={_directory}/switch.ctl");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public int Number { get; }

    /// <summary>The programs run in it, and it has the underlay's device.</summary>
    public Namespace Namespace { get; }

    public Station Container => new("pod", _container, "eth0", StretchedNode.Address(Number), $"02:5a:00:00:01:{Number:x2}");

    /// <summary>What the switch wrote, for messages of failed assertions.</summary>
    public string Log => _switch?.Error ?? "";

    /// <summary>To be called when the link is there.</summary>
    public void Connect(int mtu)
    {
        Configure("--", "add-br", Physical, "--", "set", "bridge", Physical, "datapath_type=netdev", "--", "add-port", Physical, Underlay.Device,
            "--", "add-br", Integration, "--", "set", "bridge", Integration, "datapath_type=netdev");
        Namespace.Do("ip", "address", "add", $"{StretchedNode.UnderlayAddress(Number)}/24", "dev", Physical);
        Namespace.Do("ip", "link", "set", Physical, "up");
        Namespace.Do("ip", "link", "add", "pod", "mtu", $"{mtu}", "type", "veth", "peer", "name", "eth0", "address", Container.Mac, "mtu", $"{mtu}", "netns", _container.Name);
        Namespace.Do("ip", "link", "set", "pod", "up");
        // What the kernel leaves to a device this one does not finish.
        _container.Do("ethtool", "-K", "eth0", "tx", "off", "tso", "off", "gso", "off");
        _container.Do("ip", "address", "add", $"{StretchedNode.Address(Number)}/24", "dev", "eth0");
        _container.Do("ip", "address", "add", $"{StretchedNode.IPv6Of(Number)}/64", "dev", "eth0", "nodad");
        _container.Do("ip", "link", "set", "eth0", "up");
        Configure("add-port", Integration, "pod");
    }

    /// <summary>Another node joins. What came out of one tunnel goes into none ("protected").</summary>
    public void AddPeer(int number) => Configure("add-port", Integration, $"vx{number}", "--", "set", "port", $"vx{number}", "protected=true",
        "--", "set", "interface", $"vx{number}", "type=vxlan", $"options:remote_ip={StretchedNode.UnderlayAddress(number)}",
        $"options:key={StretchedNode.Vni}", $"options:dst_port={StretchedNode.UdpPort}");

    public void Dispose()
    {
        _switch?.Dispose();
        _database.Dispose();
        _container.Dispose();
        Namespace.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private Tool Start(params string[] command) => Tool.Start(Namespace.Inside(command), _environment);

    private void Configure(params string[] command) =>
        Tool.Run(["ovs-vsctl", $"--db=unix:{_directory}/db.sock", "--timeout=20", .. command], _environment).Succeeds();
}
