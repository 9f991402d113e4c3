using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>IEEE 802.1D: forward, flood, filter. What is learned is in <see cref="LearnTests"/>.</summary>
public sealed class BridgeTests
{
    private const string Multicast = "01:00:5e:00:00:fb";

    /// <summary>A switch of four ports; B lives behind port 2.</summary>
    /// <param name="Description">The rule, as a sentence.</param>
    /// <param name="Given">What is different.</param>
    /// <param name="From">Input port of a packet from A.</param>
    /// <param name="To">Its destination.</param>
    /// <param name="Out">The ports that get it.</param>
    private sealed record Row(string Description, Action<TestSwitch> Given, int From, string To, string Out);

    private static readonly Row[] Table =
    [
        new("a known address gets it alone", _ => { }, 1, B, "2"),
        new("an unknown address is flooded", _ => { }, 1, C, "2 3 4"),
        new("broadcast is flooded", _ => { }, 1, Broadcast, "2 3 4"),
        new("multicast is flooded", _ => { }, 1, Multicast, "2 3 4"),
        new("nothing goes back where it came from", _ => { }, 2, B, ""),

        new("a port without unknown unicast gets known unicast", sw => sw.Flags(2, clear: PortFlags.FloodUnicast), 1, B, "2"),
        new("a port without unknown unicast gets no unknown unicast", sw => sw.Flags(2, clear: PortFlags.FloodUnicast), 1, C, "3 4"),
        new("a port without unknown unicast gets broadcast", sw => sw.Flags(2, clear: PortFlags.FloodUnicast), 1, Broadcast, "2 3 4"),
        new("a port without unknown unicast gets multicast", sw => sw.Flags(2, clear: PortFlags.FloodUnicast), 1, Multicast, "2 3 4"),
        new("a port without multicast gets no multicast", sw => sw.Flags(3, clear: PortFlags.FloodMulticast), 1, Multicast, "2 4"),
        new("a port without multicast gets broadcast", sw => sw.Flags(3, clear: PortFlags.FloodMulticast), 1, Broadcast, "2 3 4"),
        new("a port without multicast gets unknown unicast", sw => sw.Flags(3, clear: PortFlags.FloodMulticast), 1, C, "2 3 4"),
        new("a port without broadcast gets no broadcast", sw => sw.Flags(3, clear: PortFlags.FloodBroadcast), 1, Broadcast, "2 4"),
        new("a port without broadcast gets multicast", sw => sw.Flags(3, clear: PortFlags.FloodBroadcast), 1, Multicast, "2 3 4"),
        new("a port's flood switches are about what it gets, not what it sends", sw =>
            sw.Flags(1, clear: PortFlags.FloodUnicast | PortFlags.FloodMulticast | PortFlags.FloodBroadcast), 1, Broadcast, "2 3 4"),

        new("an isolated port does not reach an isolated one", sw => Isolate(sw, 1, 2), 1, B, ""),
        new("an isolated port does not flood to an isolated one", sw => Isolate(sw, 1, 2), 1, C, "3 4"),
        new("an isolated port does not broadcast to an isolated one", sw => Isolate(sw, 1, 3, 4), 1, Broadcast, "2"),
        new("an isolated port reaches a normal one", sw => Isolate(sw, 1), 1, B, "2"),
        new("a normal port reaches an isolated one", sw => Isolate(sw, 2), 1, B, "2"),
        new("a normal port floods to isolated ones", sw => Isolate(sw, 2, 3, 4), 1, C, "2 3 4"),

        new("with hairpin a known address is reached through its own port", sw => sw.Flags(2, set: PortFlags.Hairpin), 2, B, "2"),
        new("with hairpin a flooded packet goes back, too", sw => sw.Flags(1, set: PortFlags.Hairpin), 1, C, "1 2 3 4"),
        new("hairpin of an isolated port concerns itself only", sw =>
        {
            Isolate(sw, 1, 2);
            sw.Flags(1, set: PortFlags.Hairpin);
        }, 1, C, "1 3 4"),
        new("hairpin of another port changes nothing", sw => sw.Flags(3, set: PortFlags.Hairpin), 1, C, "2 3 4"),

        new("a disabled port gets no known unicast", sw => sw.Flags(2, clear: PortFlags.Enabled), 1, B, ""),
        new("a disabled port gets nothing flooded", sw => sw.Flags(3, clear: PortFlags.Enabled), 1, Broadcast, "2 4"),
        new("a disabled port sends nothing", sw => sw.Flags(1, clear: PortFlags.Enabled), 1, B, ""),
        new("a port that the switch disabled gets no known unicast", sw => sw.Runtime(2).State = PortState.ErrDisabled, 1, B, ""),
        new("a port that the switch disabled gets nothing flooded", sw => sw.Runtime(3).State = PortState.ErrDisabled, 1, Broadcast, "2 4"),
        new("a port that the switch disabled sends nothing", sw => sw.Runtime(1).State = PortState.ErrDisabled, 1, B, ""),
        new("a port of another bridge gets nothing flooded", sw => sw.Change(3, record => record with { Bridge = 2 }), 1, Broadcast, "2 4"),
        new("a port of another bridge gets no known unicast", sw => sw.Change(2, record => record with { Bridge = 2 }), 1, B, ""),
        new("a port without device is as if it were not there", sw => sw.Detach(3), 1, Broadcast, "2 4"),

        .. Enumerable.Range(0, 16).Select(i => new Row(
            $"01:80:c2:00:00:{i:x2} is never forwarded", _ => { }, 1, $"01:80:c2:00:00:{i:x2}", "")),
        new("01:80:c2:00:00:10 is an ordinary group address", _ => { }, 1, "01:80:c2:00:00:10", "2 3 4"),
        new("01:80:c2:00:01:00 is an ordinary group address", _ => { }, 1, "01:80:c2:00:01:00", "2 3 4"),
        new("01:80:c2:01:00:00 is an ordinary group address", _ => { }, 1, "01:80:c2:01:00:00", "2 3 4"),
        new("01:80:c3:00:00:00 is an ordinary group address", _ => { }, 1, "01:80:c3:00:00:00", "2 3 4"),
        new("00:80:c2:00:00:00 is an ordinary unicast address", _ => { }, 1, "00:80:c2:00:00:00", "2 3 4"),
        new("a destination of all zeroes is an unknown address", _ => { }, 1, "00:00:00:00:00:00", "2 3 4"),
        new("the host's port may use the bridge's address", sw =>
        {
            sw.SetBridge(Mac(sw, A));
            sw.Flags(1, set: PortFlags.Host);
        }, 1, B, "2"),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void Forwards(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using TestSwitch sw = Four();
        sw.Send(2, Of(Broadcast, B)).Outputs();
        row.Given(sw);
        byte[] frame = Of(row.To, A);
        sw.Send(row.From, frame);
        Assert.Equal(row.Out, Ports(sw, frame));
    }

    [Fact]
    public void AFloodedPacketIsCountedOnceAndItsCopiesToo()
    {
        using TestSwitch sw = Four();
        sw.Send(1, Of(Broadcast, A), Of(Multicast, A), Of(C, A)).Outputs();
        PortCounters c = sw.Counters(1);
        Assert.Equal((3ul, 3ul, 6ul, 2ul), (c.Forwarded, c.Flooded, c.Copies, c.RxMulticast));
        Assert.Equal(3ul, sw.Counters(4).TxPackets);
    }

    [Fact]
    public void ABurstKeepsItsOrder()
    {
        using TestSwitch sw = Four();
        byte[][] frames = [.. Enumerable.Range(0, 1000).Select(i => Of(i % 3 == 0 ? Broadcast : B, A, payload: 46 + i))];
        sw.Send(2, Of(Broadcast, B)).Outputs();
        sw.Send(1, frames);
        Assert.Equal(frames, sw.Take(2));
        Assert.Equal(frames.Where((_, i) => i % 3 == 0), sw.Take(3));
    }

    [Fact]
    public void ABridgeProtocolDataUnitDisablesAGuardedPortUntilItIsEnabledAgain()
    {
        using TestSwitch sw = Four();
        sw.Flags(1, set: PortFlags.BpduGuard);
        sw.Send(1, Of(B, A));
        Assert.Equal("2 3 4", sw.Outputs());
        sw.Send(1, Of(BridgeGroup, A));
        Assert.Equal("", sw.Outputs());
        Assert.Equal(PortState.ErrDisabled, sw.Runtime(1).State);
        EventRecord told = Assert.Single(sw.Events());
        Assert.Equal((EventKind.BpduGuard, 1, TestSwitch.Bridge), (told.Kind, told.Port, told.Bridge));

        // It stays so, whatever comes, and tells of it once.
        sw.Send(1, Of(B, A), Of(BridgeGroup, A));
        Assert.Equal("", sw.Outputs());
        Assert.Equal(2ul, sw.Drops(1, DropReason.PortDisabled));
        Assert.Equal(PortState.ErrDisabled, sw.Runtime(1).State);
        Assert.Empty(sw.Events());

        sw.Runtime(1).State = PortState.Up;
        sw.Send(1, Of(C, A));
        Assert.Equal("2 3 4", sw.Outputs());
        sw.Send(1, Of(BridgeGroup, A));
        Assert.Equal(PortState.ErrDisabled, sw.Runtime(1).State);
        Assert.Single(sw.Events());
    }

    [Fact]
    public void AnErrDisabledPortStaysSoWhenItsDeviceComesBack()
    {
        using TestSwitch sw = Four();
        sw.Flags(1, set: PortFlags.BpduGuard);
        sw.Send(1, Of(BridgeGroup, A));
        sw.Detach(1);
        Assert.Equal(PortState.ErrDisabled, sw.Runtime(1).State);
        sw.Tap(1, out TapWire wire);
        Assert.Equal(PortState.ErrDisabled, sw.Runtime(1).State);
        Assert.True(wire.Send(Of(B, A)));
        sw.Poll();
        Assert.Equal("", sw.Outputs());
        Assert.Equal(1ul, sw.Drops(1, DropReason.PortDisabled));
    }

    [Fact]
    public void OnlyTheBpduAddressTripsTheGuard()
    {
        using TestSwitch sw = Four();
        sw.Flags(1, set: PortFlags.BpduGuard);
        sw.Send(1, Of("01:80:c2:00:00:02", A), Of("01:80:c2:00:00:0e", A));
        Assert.Equal(PortState.Up, sw.Runtime(1).State);
        Assert.Equal(2ul, sw.Drops(1, DropReason.LinkLocal));
    }

    /// <summary>The ports that got exactly this frame.</summary>
    private static string Ports(TestSwitch sw, byte[] frame)
    {
        var ports = new List<int>();
        foreach (int port in sw.Engine.Ports.Select(p => p.Index))
        {
            foreach (byte[] got in sw.Take(port))
            {
                Assert.Equal(frame, got);
                ports.Add(port);
            }
        }
        return string.Join(' ', ports);
    }

    private static TestSwitch Four() => new TestSwitch().Port(1).Port(2).Port(3).Port(4);

    private static void Isolate(TestSwitch sw, params int[] ports)
    {
        foreach (int port in ports)
        {
            sw.Flags(port, set: PortFlags.Isolated);
        }
    }

    private static BridgeRecord Mac(TestSwitch sw, string mac) => sw.Writer.Bridge(TestSwitch.Bridge) with { Mac = MacAddress.Parse(mac).Value };
}
