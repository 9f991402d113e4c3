using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Ports come, change and go while others talk, and no packet of theirs is lost.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class AttachTests : IDisposable
{
    private readonly Lan _lan;

    public AttachTests(SharedSwitch shared)
    {
        _lan = new Lan(shared.Switch, "attach", 61);
        _lan.AddHost();
        _lan.AddContainers("", "a", "b");
    }

    [Fact]
    public void NothingIsLostWhileOthersComeAndGo()
    {
        Station a = _lan["a"], b = _lan["b"];
        using ContinuousPing ping = Ping.Start(a, b.Address, "0.001");
        for (int round = 0; round < 3; round++)
        {
            _lan.AddContainers("", "c", "d");
            Ping.Reaches(_lan["c"], _lan["d"].Address);
            _lan.Switch.Do("port", "disable", _lan["c"].Port);
            _lan.Switch.Do("port", "enable", _lan["c"].Port);
            _lan.Switch.Apply($"static_macs: [{{network: {_lan.Name}, mac: \"02:00:00:00:09:01\", port: {_lan["c"].Port}}}]");
            _lan.Switch.Do("mac", "delete", "02:00:00:00:09:01", "--network", _lan.Name);
            _lan.Switch.Do("port", "delete", _lan["c"].Port, _lan["d"].Port);
        }
        ping.WaitForMore(100);
        Assert.Empty(ping.End());
        Assert.Equal(0ul, _lan.Api.Counters(b.Port).EgressDrops);
        Accounts.Balance(_lan.Switch);
    }

    /// <summary>Other kinds of devices too: DPDK drivers, capture files, memory.</summary>
    [Fact]
    public void NothingIsLostWhileDevicesOfOtherKindsComeAndGo()
    {
        string file = Path.GetTempFileName();
        try
        {
            using ContinuousPing ping = Ping.Start(_lan["a"], _lan["host"].Address, "0.001");
            _lan.Switch.Apply($$"""
                ports:
                - {name: attach-null, network: {{_lan.Name}}, dpdk: {devargs: "net_null0,no-rx=1"} }
                - {name: attach-ring, network: {{_lan.Name}}, dpdk: {devargs: net_ring0}, enabled: false}
                - {name: attach-pcap, network: {{_lan.Name}}, pcap: {tx_file: "{{file}}"} }
                - {name: attach-memory, network: {{_lan.Name}}, memory: {} }
                """);
            _lan.Switch.WaitFor("attach-pcap", PortStatus.Types.State.Up);
            ping.WaitForMore(300);
            _lan.Switch.Do("port", "delete", "attach-null", "attach-ring", "attach-pcap", "attach-memory");
            ping.WaitForMore(100);
            Assert.Empty(ping.End());
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>A port keeps its device when what changes can be changed in place: addresses, MTU, learning.</summary>
    [Fact]
    public void AChangedPortKeepsItsDevice()
    {
        Station a = _lan["a"], b = _lan["b"];
        string index = a.Namespace.Do("cat", "/sys/class/net/eth0/ifindex");
        using ContinuousPing ping = Ping.Start(a, b.Address, "0.001");
        _lan.Switch.Apply($"ports: [{{name: {a.Port}, network: {_lan.Name}, mtu: 1400, learn_limit: 5, tap: {{netns: {a.Namespace.Name}, addresses: [{a.Address}/16, 10.61.7.7/16], default_route: true}}}}]");
        ping.WaitForMore(100);
        Assert.Empty(ping.End());
        Ping.Reaches(b, "10.61.7.7");
        Assert.Equal(index, a.Namespace.Do("cat", "/sys/class/net/eth0/ifindex"));
        Assert.Equal("1400", a.Namespace.Do("cat", "/sys/class/net/eth0/mtu").Trim());
    }

    public void Dispose()
    {
        _lan.Switch.Do("port", "delete", _lan["a"].Port, _lan["b"].Port, _lan["host"].Port);
        _lan.Switch.Do("network", "delete", _lan.Name);
    }
}
