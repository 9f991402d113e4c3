using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Devices and namespaces vanish under the switch: it says so, goes on with the others, and makes them again when it can.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class DeviceLossTests(SharedSwitch shared)
{
    private readonly Switch _switch = shared.Switch;

    [Fact]
    public void ADeletedDeviceIsMadeAgain()
    {
        Lan lan = Make("gone", 71);
        Station a = lan["a"], b = lan["b"];
        using ContinuousPing others = Ping.Start(lan["host"], b.Address, "0.001");
        a.Namespace.Do("ip", "link", "delete", "eth0");

        Until.True(() => _switch.Api.PortStatus(a.Port) is { State: PortStatus.Types.State.Up, Recoveries: 1 }, "the device is there again", () => $"{_switch.Api.PortStatus(a.Port)}");
        Ping.Reaches(b, a.Address);
        Ping.Reaches(a, lan["host"].Address);
        Assert.Equal(a.Mac, _switch.Api.PortStatus(a.Port).Mac);
        Assert.Contains(a.Address, _switch.Api.PortStatus(a.Port).Addresses.Single(), StringComparison.Ordinal);
        Event lost = _switch.Api.Events().Single(e => e.Type == Event.Types.Type.PortLost && e.Port == a.Port);
        Assert.Equal($"port \"{a.Port}\" is lost: device \"eth0\" in namespace \"{a.Namespace.Name}\" was deleted", lost.Text);
        Assert.Single(_switch.Api.Events(), e => e.Type == Event.Types.Type.PortRecovered && e.Port == a.Port);
        Assert.Empty(others.End());
        Accounts.Balance(_switch);
    }

    [Fact]
    public void TheHostsDeviceIsMadeAgain()
    {
        Lan lan = Make("gonehost", 72);
        Station host = lan["host"];
        using ContinuousPing others = Ping.Start(lan["a"], lan["b"].Address, "0.001");
        host.Namespace.Do("ip", "link", "delete", host.Device);

        Until.True(() => _switch.Api.PortStatus(host.Port) is { State: PortStatus.Types.State.Up, Recoveries: 1 }, "the device is there again", () => $"{_switch.Api.PortStatus(host.Port)}");
        Ping.Reaches(lan["a"], host.Address);
        Assert.Empty(others.End());
    }

    /// <summary>A container stops: its namespace goes, and its port waits for one of that name.</summary>
    [Fact]
    public void AVanishedNamespaceIsReportedAndWaitedFor()
    {
        Lan lan = Make("vanish", 73);
        Station a = lan["a"], b = lan["b"];
        Ping.Reaches(a, b.Address);
        using ContinuousPing others = Ping.Start(lan["host"], b.Address, "0.001");
        a.Namespace.Delete();

        _switch.WaitFor(a.Port, PortStatus.Types.State.Lost);
        Until.True(() => _switch.Api.PortStatus(a.Port).Reason.Contains(a.Namespace.Name, StringComparison.Ordinal), "the reason names the namespace", () => $"{_switch.Api.PortStatus(a.Port)}");
        Assert.Contains("LOST", _switch.Do("port", "get", a.Port), StringComparison.OrdinalIgnoreCase);
        _switch.Shows($"network namespace \"{a.Namespace.Name}\" is gone", "events");
        Assert.Equal("", _switch.Api.PortOf(lan.Name, a.Mac));
        Ping.DoesNotReach(b, a.Address);
        // Desired state can be changed meanwhile, also that of the lost port.
        lan.AddContainers("", "c");
        Ping.Reaches(lan["c"], b.Address);
        _switch.Do("port", "disable", a.Port);
        _switch.Do("port", "enable", a.Port);

        a.Namespace.Create();
        _switch.WaitFor(a.Port, PortStatus.Types.State.Up);
        Ping.Reaches(a, b.Address);
        Ping.Reaches(lan["host"], a.Address);
        Assert.Empty(others.End());
        Accounts.Balance(_switch);
    }

    /// <summary>A container that is replaced faster than anyone looks.</summary>
    [Fact]
    public void ANamespaceThatIsReplacedIsNoticed()
    {
        Lan lan = Make("replace", 74);
        Station a = lan["a"], b = lan["b"];
        // Somebody in the old one keeps it alive, with its device.
        using Tool shell = a.Namespace.Start("sleep", "600");
        a.Namespace.Delete();
        a.Namespace.Create();

        Until.True(() => _switch.Api.PortStatus(a.Port) is { State: PortStatus.Types.State.Up, Recoveries: 1 }, "the device is in the new namespace", () => $"{_switch.Api.PortStatus(a.Port)}");
        Ping.Reaches(b, a.Address);
        Ping.Reaches(a, lan["host"].Address);
    }

    /// <summary>A port that is lost can be deleted.</summary>
    [Fact]
    public void ALostPortCanBeDeleted()
    {
        Lan lan = Make("lostdel", 75);
        Station a = lan["a"];
        a.Namespace.Delete();
        _switch.WaitFor(a.Port, PortStatus.Types.State.Lost);
        _switch.Do("port", "delete", a.Port);
        Assert.DoesNotContain(a.Port, _switch.Do("port", "list"), StringComparison.Ordinal);
        Ping.Reaches(lan["b"], lan["host"].Address);
    }

    /// <summary>The operator takes a device down and up again: nothing is lost but the packets meanwhile.</summary>
    [Fact]
    public void ADeviceThatIsDownDropsWithAReason()
    {
        Lan lan = Make("down", 76);
        Station a = lan["a"], b = lan["b"];
        Ping.Reaches(b, a.Address);
        a.Namespace.Do("ip", "link", "set", "eth0", "down");
        Ping.DoesNotReach(b, a.Address);
        Assert.True(_switch.Api.Drops(a.Port, "egress-device") >= 3, $"{_switch.Api.Counters(a.Port)}");
        a.Namespace.Do("ip", "link", "set", "eth0", "up");
        Until.True(() => b.Namespace.Run("ping", "-n", "-c", "1", "-W", "1", a.Address).ExitCode == 0, "it is reached again");
        Accounts.Balance(_switch);
    }

    private Lan Make(string name, int subnet)
    {
        var lan = new Lan(_switch, name, subnet);
        lan.AddHost();
        lan.AddContainers("", "a", "b");
        return lan;
    }
}
