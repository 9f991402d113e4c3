using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>What protects a network from its ports, as the operator sees it: BPDU guard, storm control, flooding switches.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class GuardTests(SharedSwitch shared)
{
    private readonly Switch _switch = shared.Switch;

    /// <summary>Somebody runs a bridge in a container: its port is disabled, says why, and stays so until the operator enables it.</summary>
    [Fact]
    public void ABridgeBehindAGuardedPortDisablesIt()
    {
        var lan = new Lan(_switch, "guard", 131);
        lan.AddHost();
        lan.AddContainers("bpdu_guard: true", "a");
        lan.AddContainers("", "b");
        Station a = lan["a"], b = lan["b"];
        Ping.Reaches(a, b.Address);
        using RawSocket raw = a.OpenRaw();
        raw.Send(Frame.Of(Frame.BridgeGroup, a.Mac));

        _switch.WaitFor(a.Port, PortStatus.Types.State.ErrDisabled);
        Ping.DoesNotReach(a, b.Address);
        Ping.Reaches(b, lan["host"].Address);
        Assert.Equal(1ul, lan.Api.Drops(a.Port, "bpdu-guard"));
        Assert.True(lan.Api.Drops(a.Port, "port-disabled") > 0);
        Until.True(() => lan.Api.Events().Any(e => e.Type == Event.Types.Type.BpduGuard && e.Port == a.Port), "it is told");
        Assert.Contains("bridge protocol data unit", lan.Api.PortStatus(a.Port).Reason, StringComparison.OrdinalIgnoreCase);

        _switch.Do("port", "enable", a.Port);
        _switch.WaitFor(a.Port, PortStatus.Types.State.Up);
        Ping.Reaches(a, b.Address);
        Accounts.Balance(_switch);
    }

    /// <summary>An unguarded port may speak to the bridge, which listens to nobody: nothing is forwarded, nothing disabled.</summary>
    [Fact]
    public void ABridgeBehindAnyOtherPortDoesNot()
    {
        var lan = new Lan(_switch, "noguard", 132);
        lan.AddContainers("", "a", "b");
        using Recording atB = lan["b"].Record();
        using RawSocket raw = lan["a"].OpenRaw();
        raw.Send(Frame.Of(Frame.BridgeGroup, lan["a"].Mac, 1));
        raw.Send(Frame.Of(Frame.Broadcast, lan["a"].Mac, 2));
        atB.WaitFor(Frame.Of(Frame.Broadcast, lan["a"].Mac, 2));
        Assert.DoesNotContain(atB.Frames, f => Frame.IsOurs(f, out uint number) && number == 1);
        Assert.Equal(PortStatus.Types.State.Up, lan.Api.PortStatus(lan["a"].Port).State);
    }

    /// <summary>A container floods: the bucket's depth gets through, then the rate; what it sends to known addresses is not slowed down.</summary>
    [Fact]
    public void AStormIsHeldBack()
    {
        var lan = new Lan(_switch, "storm", 133);
        lan.AddContainers("storm_control: {packets_per_second: 1, burst: 40}", "a");
        lan.AddContainers("", "b");
        Station a = lan["a"], b = lan["b"];
        Ping.Reaches(a, b.Address);
        ulong floodedBefore = lan.Api.Counters(a.Port).Flooded, droppedBefore = lan.Api.Drops(a.Port, "storm-control");
        using RawSocket raw = a.OpenRaw();
        raw.SendAll(Enumerable.Range(0, 1000).Select(i => Frame.Of(Frame.Broadcast, a.Mac, (uint)i)), () => lan.Api.Counters(a.Port).RxPackets);

        ulong flooded = lan.Api.Counters(a.Port).Flooded - floodedBefore, dropped = lan.Api.Drops(a.Port, "storm-control") - droppedBefore;
        // One more for each second that the sending took, and what the container's kernel has to say.
        Assert.InRange(flooded, 20ul, 80ul);
        Assert.InRange(dropped, 1000 - flooded, 1020 - flooded);
        ulong unicast = lan.Api.Counters(b.Port).TxPackets;
        raw.SendAll(Enumerable.Range(0, 1000).Select(i => Frame.Of(b.Mac, a.Mac, (uint)i)), () => lan.Api.Counters(a.Port).RxPackets);
        Until.True(() => lan.Api.Counters(b.Port).TxPackets >= unicast + 1000, "all packets to a known address have passed");
        Accounts.Balance(_switch);
    }

    /// <summary>Which kinds of packets are flooded to a port is the operator's choice; the port itself may send what it likes.</summary>
    [Fact]
    public void FloodingCanBeSwitchedOffPerKind()
    {
        var lan = new Lan(_switch, "floods", 134);
        lan.AddContainers("", "a", "all");
        lan.AddContainers("flood_unknown_unicast: false", "nounicast");
        lan.AddContainers("flood_multicast: false", "nomulticast");
        lan.AddContainers("flood_broadcast: false", "nobroadcast");
        Station a = lan["a"];
        string[] labels = ["all", "nounicast", "nomulticast", "nobroadcast"];
        Dictionary<string, Recording> captures = labels.ToDictionary(l => l, l => lan[l].Record());
        using RawSocket raw = a.OpenRaw();
        raw.Send(Frame.Of("02:00:00:00:0e:01", a.Mac, 1));
        raw.Send(Frame.Of("01:00:5e:00:00:fb", a.Mac, 2));
        raw.Send(Frame.Of(Frame.Broadcast, a.Mac, 3));
        foreach (string label in labels)
        {
            // To each one's own address: it is the last that comes.
            byte[] last = Frame.Of(lan[label].Mac, a.Mac, 4);
            using RawSocket own = lan[label].OpenRaw();
            own.Send(Frame.Of(a.Mac, lan[label].Mac, 9));
            Until.Equal(lan[label].Port, () => lan.Api.PortOf(lan.Name, lan[label].Mac), "its address is known");
            raw.Send(last);
            captures[label].WaitFor(last);
        }

        Assert.Equal([1, 2, 3, 4], Numbers("all"));
        Assert.Equal([2, 3, 4], Numbers("nounicast"));
        Assert.Equal([1, 3, 4], Numbers("nomulticast"));
        Assert.Equal([1, 2, 4], Numbers("nobroadcast"));

        uint[] Numbers(string label)
        {
            uint[] numbers = [.. captures[label].Frames.Select(f => Frame.IsOurs(f, out uint number) ? number : 0).Where(n => n is > 0 and < 9)];
            captures[label].Dispose();
            return numbers;
        }
    }

    /// <summary>A hairpin port gets back what it sends to an address behind itself, and no other port does.</summary>
    [Fact]
    public void AHairpinPortGetsItsOwnBack()
    {
        var lan = new Lan(_switch, "hairpin", 135);
        lan.AddContainers("hairpin: true", "a");
        lan.AddContainers("", "b");
        foreach ((string label, bool back) in new[] { ("a", true), ("b", false) })
        {
            Station station = lan[label];
            const string First = "02:00:00:00:0f:01", Second = "02:00:00:00:0f:02";
            using RawSocket raw = station.OpenRaw();
            raw.Send(Frame.Of("02:00:00:00:0f:ff", First, 1));
            Until.Equal(station.Port, () => lan.Api.PortOf(lan.Name, First), "the first address is behind the port");
            ulong sent = lan.Api.Counters(station.Port).TxPackets, dropped = lan.Api.Drops(station.Port, "same-port");
            raw.Send(Frame.Of(First, Second, 2));
            Until.True(
                () => back ? lan.Api.Counters(station.Port).TxPackets > sent : lan.Api.Drops(station.Port, "same-port") > dropped,
                back ? "it comes back" : "it is dropped");
        }
    }
}
