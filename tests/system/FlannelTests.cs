using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>A node of a flannel network from its configuration file: what the operator sees, through a crash and a lost lease.</summary>
public sealed class FlannelTests : IDisposable
{
    private const string Prefix = "/coreos.com/network", Peer = Prefix + "/subnets/10.5.200.0-24";

    /// <summary>What a flanneld on another host writes.</summary>
    private const string PeerLease = """{"PublicIP":"192.0.2.77","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}""";

    private readonly string _directory = Directory.CreateTempSubdirectory("dpsys-flannel-").FullName;
    private readonly Switch _switch;

    public FlannelTests()
    {
        File.WriteAllText(ConfigFile,
            """
            ports:
            - name: uplink
              routed: {addresses: [192.0.2.1/24]}
              memory: {}
            - name: dp0
              network: flannel
              tap: {host: true}
            """);
        _switch = new Switch("--store", "etcd://127.0.0.1:23790/cluster", "--node", "one", "--flannel", "--underlay", "uplink",
            "--flannel-subnet-file", SubnetFile, "--config", ConfigFile);
    }

    private string ConfigFile => Path.Combine(_directory, "node.yaml");

    private string SubnetFile => Path.Combine(_directory, "flannel/subnet.env");

    private FlannelStatus Status => _switch.Api.Status.Flannel;

    public void Dispose()
    {
        _switch.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public void ANodeJoinsAndOutlivesACrashAndALostLease()
    {
        Etcd etcd = _switch.Own(new Etcd(_switch.Host));
        etcd.Put($"{Prefix}/config", """{"Network": "10.5.0.0/16", "Backend": {"Type": "vxlan"}}""");
        etcd.Put(Peer, PeerLease);
        _switch.Start();

        string subnet = Assert.Single(Status.Subnets), start = subnet.Replace(".0/24", "", StringComparison.Ordinal);
        Assert.Equal($"FLANNEL_NETWORK=10.5.0.0/16\nFLANNEL_SUBNET={start}.1/24\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=false\n", File.ReadAllText(SubnetFile));
        Assert.Contains("\"PublicIP\":\"192.0.2.1\"", etcd.Get($"{Prefix}/subnets/{start}.0-24"), StringComparison.Ordinal);
        string status = _switch.Do("status");
        Assert.Contains($"flannel    leased {subnet} until ", status, StringComparison.Ordinal);
        Assert.Contains(", 1 peer\n", status, StringComparison.Ordinal);
        _switch.Shows("10.5.200.0", "get", "route");
        Assert.Contains($"{start}.1/24", _switch.Host.Do("ip", "-4", "address", "show", "dev", "dp0"), StringComparison.Ordinal);

        Station a = AddContainer("a", $"{start}.8"), b = AddContainer("b", $"{start}.9");
        Assert.Contains("mtu 1450", a.Namespace.Do("ip", "link", "show", "dev", "eth0"), StringComparison.Ordinal);
        using ContinuousPing ping = Ping.Start(a, b.Address, "0.001");
        ping.WaitForMore(200);

        // The daemon dies, and meanwhile the peer leaves and this node's own lease with it.
        _switch.Stop(LinuxProcess.SIGKILL);
        etcd.Delete(Peer);
        etcd.Delete($"{Prefix}/subnets/{start}.0-24");
        _switch.Start();
        Assert.Equal([subnet], Status.Subnets);
        Until.Holds(() => Assert.DoesNotContain("10.5.200.0", _switch.Do("get", "route"), StringComparison.Ordinal));
        ping.WaitForMore(200);

        // The operator deletes the lease and gives the subnet to somebody else.
        etcd.Put($"{Prefix}/subnets/{start}.0-24", PeerLease);
        Until.True(() => Status is { State: FlannelStatus.Types.State.Leased, Problems.Count: 1 } now && !now.Subnets.Contains(subnet), "another subnet is leased", () => $"{Status}\n{_switch.Log}");
        _switch.Shows($"the lease of {subnet} is lost: it is another node's now", "events");
        _switch.Shows($"leased {Status.Subnets[0]} in place of {subnet}", "events");
        ping.WaitForMore(200);
        Assert.Empty(ping.End());
        _switch.Do("port", "delete", "a", "b");
        Until.True(() => Status.Problems.Count == 0, "the old subnet is given up", () => $"{Status}\n{_switch.Log}");
        _switch.Shows(start, "get", "route");

        Finished refused = _switch.Run("delete", "route", $"main/{subnet}");
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains($"route \"main/{subnet}\": is kept by flannel, which would change it back", refused.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void WithoutANetworkItStartsAndWaits()
    {
        Etcd etcd = _switch.Own(new Etcd(_switch.Host));
        etcd.Put($"{Prefix}/config", """{"Network": "10.5.0.0/30", "Backend": {"Type": "udp"}}""");
        _switch.Start();
        Assert.Equal(FlannelStatus.Types.State.Seeking, Status.State);
        Assert.Contains($"no lease can be taken: {Prefix}/config: Network 10.5.0.0/30 is too small: /28 at most; Backend.Type is \"udp\"", _switch.Do("status"), StringComparison.Ordinal);
        etcd.Put($"{Prefix}/config", """{"Network": "10.5.0.0/28", "Backend": {"Type": "vxlan"}}""");
        Until.True(() => Status.State == FlannelStatus.Types.State.Leased, "a lease is taken", () => $"{Status}\n{_switch.Log}");
        Until.True(() => _switch.Host.Run("ip", "link", "show", "dev", "dp0").ExitCode == 0, "what waited for the network is made", () => _switch.Log);
    }

    private Station AddContainer(string name, string address)
    {
        Namespace container = _switch.Container(name);
        _switch.Apply($"ports: [{{name: {name}, network: flannel, tap: {{netns: {container.Name}, addresses: [{address}/24], default_route: true}}}}]");
        _switch.WaitFor(name, PortStatus.Types.State.Up);
        return new Station(name, container, "eth0", address, _switch.Api.PortStatus(name).Mac);
    }
}
