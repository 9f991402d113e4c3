using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>
/// Ports on network devices that stay the kernel's: one end of a veth pair, whose other end is a machine on the same wire. What a kernel leaves to devices
/// (checksums, segments) crosses undone, unless a test says otherwise.
/// </summary>
public sealed class NetdevTests : IDisposable
{
    private const string Device = "eth1", Wire = "wire0", WireMac = "02:00:00:00:99:01";

    private readonly Switch _switch = new("--workers", "2");
    private readonly Namespace _wire;

    public NetdevTests()
    {
        _wire = _switch.Container("wire");
        AddDevice();
        _switch.Start();
    }

    public void Dispose() => _switch.Dispose();

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void ContainersReachTheWireWithTheKernelsOffloadsAndWithout(bool offloads)
    {
        if (!offloads)
        {
            _wire.Do("ethtool", "-K", Wire, "tx", "off", "tso", "off", "gso", "off", "gro", "off");
            _switch.Host.Do("ethtool", "-K", Device, "tx", "off", "tso", "off", "gso", "off", "gro", "off");
        }
        Lan lan = Bridged(151, out Station outside);
        foreach (int size in new[] { 64, 1500, 8000 })
        {
            Ping.Reaches(lan["a"], outside.Address, size);
            Ping.Reaches(outside, lan["a"].Address, size);
        }
        new Conversation(lan["a"], outside).StreamTcp(1 << 26);
        new Conversation(outside, lan["a"]).StreamTcp(1 << 26);
        Assert.True(Iperf.Send(lan["a"], outside, "-u", "-b", "200M", "-l", "1400", "-t", "1") > 0);
        Assert.True(Iperf.Send(outside, lan["a"], "-P", "8", "-t", "1") > 0);
        Assert.Equal(0ul, _switch.Api.Drops("uplink", "bad-offload"));
        Accounts.Balance(_switch);
    }

    /// <summary>The host has the device, too, with an address of its own.</summary>
    [Fact]
    public void TheHostGoesOnToUseTheDevice()
    {
        _switch.Host.Do("ip", "address", "add", "10.152.1.1/16", "dev", Device);
        Lan lan = Bridged(152, out Station outside);
        Ping.Reaches(outside, "10.152.1.1", 1500);
        Assert.Contains("1 received", _switch.Host.Do("ping", "-n", "-c", "1", "-W", "5", outside.Address), StringComparison.Ordinal);
        Ping.Reaches(lan["a"], outside.Address, 1500);
        // What the host sends is not received by the port: a packet would come twice.
        Assert.Equal(0ul, _switch.Api.Drops("uplink", "source-on-other-port"));
    }

    /// <summary>The kernel takes a tag off before a socket sees the packet, and tells it beside.</summary>
    [Fact]
    public void TagsArePutBack()
    {
        _switch.Apply("networks: [{name: trunked, subnets: [10.153.0.0/16], vlan_filtering: true}]");
        _switch.Apply($"ports: [{{name: uplink, network: trunked, netdev: {{device: {Device}}}, trunk: {{vlans: [\"10\", \"20\"]}}}}]");
        var wire = new Station("uplink", _wire, Wire, "", WireMac);
        var inside = new Dictionary<int, Station>();
        foreach (int vlan in new[] { 10, 20, 30 })
        {
            Namespace container = _switch.Container($"c{vlan}");
            _switch.Apply($"ports: [{{name: c{vlan}, network: trunked, access_vlan: {vlan}, tap: {{netns: {container.Name}, addresses: [10.153.{vlan}.2/16]}}}}]");
            inside[vlan] = new Station($"c{vlan}", container, "eth0", $"10.153.{vlan}.2", _switch.Api.PortStatus($"c{vlan}").Mac);
        }
        using Recording at10 = inside[10].Record(), at20 = inside[20].Record(), atWire = wire.Record();
        using RawSocket from = wire.OpenRaw(), from10 = inside[10].OpenRaw(), from30 = inside[30].OpenRaw();

        from.Send(Frame.Tag(Frame.Of(Frame.Broadcast, WireMac, 30), 30));
        from.Send(Frame.Of(Frame.Broadcast, WireMac, 1));
        from.Send(Frame.Tag(Frame.Of(Frame.Broadcast, WireMac, 10), 10));
        from.Send(Frame.Tag(Frame.Of(Frame.Broadcast, WireMac, 20), 20));
        at10.WaitFor(Frame.Of(Frame.Broadcast, WireMac, 10));
        at20.WaitFor(Frame.Of(Frame.Broadcast, WireMac, 20));
        Assert.True(Numbers(at10).SequenceEqual([10u]) && Numbers(at20).SequenceEqual([20u]), Seen());
        // Another worker may have these, and be later.
        Until.Equal((1ul, 1ul), () => (_switch.Api.Drops("uplink", "vlan-not-allowed"), _switch.Api.Drops("uplink", "vlan-untagged")), "what does not belong is dropped");

        from30.Send(Frame.Of(Frame.Broadcast, inside[30].Mac, 31));
        from10.Send(Frame.Of(Frame.Broadcast, inside[10].Mac, 11));
        atWire.WaitFor(Frame.Tag(Frame.Of(Frame.Broadcast, inside[10].Mac, 11), 10));
        Assert.DoesNotContain(31u, Numbers(atWire));
        Accounts.Balance(_switch);

        string Seen() =>
            $"{string.Join('\n', new[] { at10, at20, atWire }.SelectMany((at, i) => at.Frames.Select(f => $"{i}: {Convert.ToHexString(f.AsSpan(0, Math.Min(f.Length, 48)))}")))}\n{_switch.Do("stats")}{_switch.Do("stats", "--drops")}";

        static IEnumerable<uint> Numbers(Recording recording) =>
            recording.Frames.Select(f => Frame.IsOurs(f, out uint number) ? number : 0).Where(n => n != 0);
    }

    /// <summary>Two workers share the packets by their flows, so none overtakes another of its flow.</summary>
    [Fact]
    public void WorkersShareFlows()
    {
        Lan lan = Bridged(154, out Station outside);
        Assert.True(Iperf.Send(outside, lan["a"], "-P", "8", "-t", "2") > 0);
        Thread.Sleep(TimeSpan.FromSeconds(1.5)); // a worker writes its figures once a second
        IReadOnlyList<WorkerCounters> workers = _switch.Api.Stats.GetWorkers(new GetWorkersRequest(), deadline: ApiClient.Deadline).Workers;
        Assert.All(workers, w => Assert.True(w.Packets > 0, $"{w}"));
        Assert.All(workers, w => Assert.Equal(0ul, w.AllocatedBytes));
    }

    [Fact]
    public void ADeviceMayGoDownAndAwayAndComeBack()
    {
        Lan lan = Bridged(155, out Station outside);
        _switch.Host.Do("ip", "link", "set", Device, "down");
        Ping.DoesNotReach(lan["a"], outside.Address);
        _switch.Host.Do("ip", "link", "set", Device, "up");
        Until.True(() => lan["a"].Namespace.Run("ping", "-n", "-c", "1", "-W", "1", outside.Address).ExitCode == 0, "it is reached again");
        Assert.Equal(PortStatus.Types.State.Up, _switch.Api.PortStatus("uplink").State);

        _switch.Host.Do("ip", "link", "delete", Device);
        _switch.WaitFor("uplink", PortStatus.Types.State.Lost);
        AddDevice();
        _wire.Do("ip", "address", "add", $"{outside.Address}/16", "dev", Wire);
        _switch.WaitFor("uplink", PortStatus.Types.State.Up);
        Until.True(() => lan["a"].Namespace.Run("ping", "-n", "-c", "1", "-W", "1", outside.Address).ExitCode == 0, "it is reached again");
        Accounts.Balance(_switch);
    }

    /// <summary>With the port the device is as it was: not promiscuous, and the kernel's alone.</summary>
    [Fact]
    public void NothingIsLeftBehind()
    {
        _ = Bridged(156, out _);
        Assert.Contains("promiscuity 2", _switch.Host.Do("ip", "-d", "link", "show", Device), StringComparison.Ordinal);
        _switch.Do("port", "delete", "uplink");
        Until.True(() => _switch.Host.Do("ip", "-d", "link", "show", Device).Contains("promiscuity 0", StringComparison.Ordinal), "it is promiscuous no more");
    }

    [Theory]
    [InlineData("nosuch0", 0, "there is no network device \"nosuch0\"", "ip link")]
    [InlineData(Device, 9000, "sends packets of 1500 bytes at most, and the port those of 9000", "give the port an MTU of 1500")]
    [InlineData("a/b", 0, "a/b", "")]
    public void WhatCannotBeIsRefusedWithTheFix(string device, int mtu, string problem, string fix)
    {
        _switch.Do("network", "add", "blue", "--subnet", "10.157.0.0/16");
        Finished refused = _switch.Run(["port", "add", "uplink", "--network", "blue", "--netdev", device, .. mtu == 0 ? Array.Empty<string>() : ["--mtu", $"{mtu}"]]);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains(problem, refused.Error, StringComparison.Ordinal);
        Assert.Contains(fix, refused.Error, StringComparison.Ordinal);
        Assert.DoesNotContain("uplink", _switch.Do("port", "list"), StringComparison.Ordinal);
    }

    [Fact]
    public void ADeviceBelongsToOnePort()
    {
        _ = Bridged(158, out _);
        Finished refused = _switch.Run("port", "add", "second", "--network", "lan", "--netdev", Device);
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains($"device \"{Device}\" belongs to port \"uplink\"", refused.Error, StringComparison.Ordinal);
    }

    /// <summary>The daemon dies and another one takes over; the engine dies and another one opens the device again.</summary>
    [Fact]
    public void ThePortOutlivesBothProcesses()
    {
        Lan lan = Bridged(159, out Station outside);
        using (ContinuousPing ping = Ping.Start(lan["a"], outside.Address, "0.001"))
        {
            _switch.Stop(Interop.Linux.LinuxProcess.SIGKILL);
            _switch.Start();
            ping.WaitForMore(200);
            Assert.Empty(ping.End());
        }
        int engine = _switch.EnginePid;
        Interop.Linux.LinuxProcess.Kill(engine, Interop.Linux.LinuxProcess.SIGKILL);
        Until.True(() => _switch.Api.TryStatus() is { State: EngineStatus.Types.State.Running } status && status.EnginePid != engine, "another engine runs");
        _switch.WaitFor("uplink", PortStatus.Types.State.Up);
        Ping.Reaches(lan["a"], outside.Address);
    }

    /// <summary>A container "a" and the device in one network, and a station outside.</summary>
    private Lan Bridged(int subnet, out Station outside)
    {
        var lan = new Lan(_switch, "lan", subnet);
        lan.AddContainers("", "a");
        _switch.Do("port", "add", "uplink", "--network", "lan", "--netdev", Device);
        _switch.WaitFor("uplink", PortStatus.Types.State.Up);
        string address = $"10.{subnet}.0.200";
        _wire.Do("ip", "address", "add", $"{address}/16", "dev", Wire);
        outside = new Station("uplink", _wire, Wire, address, WireMac);
        return lan;
    }

    private void AddDevice()
    {
        _switch.Host.Do("ip", "link", "add", Device, "type", "veth", "peer", "name", Wire, "address", WireMac, "netns", _wire.Name);
        _switch.Host.Do("ip", "link", "set", Device, "up");
        // Its kernel says nothing of its own accord, or would be counted with what a test sends.
        _wire.Do("sysctl", "-qw", $"net.ipv6.conf.{Wire}.disable_ipv6=1");
        _wire.Do("ip", "link", "set", Wire, "up");
    }
}
