using System.Text.Json;
using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>The MAC table as an operator sees and changes it, with real packets.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class MacTableTests(SharedSwitch shared)
{
    private const string Foreign = "02:00:00:00:0a:01";

    private readonly Switch _switch = shared.Switch;

    [Fact]
    public void WhoTalkedIsListed()
    {
        Lan lan = Make("listed", 81);
        Ping.Reaches(lan["a"], lan["b"].Address);
        Ping.Reaches(lan["a"], lan["host"].Address);

        JsonElement[] macs = [.. _switch.Json("mac", "list", "--network", lan.Name).GetProperty("macs").EnumerateArray()];
        foreach (Station station in lan.Stations)
        {
            JsonElement entry = Assert.Single(macs, m => m.GetProperty("mac").GetString() == station.Mac);
            Assert.Equal(station.Port, entry.GetProperty("port").GetString());
            Assert.False(entry.GetProperty("is_static").GetBoolean());
            Assert.InRange(entry.GetProperty("age_seconds").GetInt32(), 0, 60);
            Assert.Contains(station.Mac, _switch.Do("mac", "list", "--port", station.Port), StringComparison.Ordinal);
            Assert.Equal(1u, lan.Api.Counters(station.Port).LearnedMacs);
        }
    }

    [Fact]
    public void FlushForgetsWhatWasLearnedAndNothingElse()
    {
        Lan lan = Make("flush", 82);
        _switch.Do("mac", "add", Foreign, "--network", lan.Name, "--port", lan["b"].Port);
        Talk();

        _switch.Do("mac", "flush", "--port", lan["a"].Port);
        Assert.Equal("", lan.Api.PortOf(lan.Name, lan["a"].Mac));
        Assert.Equal(lan["b"].Port, lan.Api.PortOf(lan.Name, lan["b"].Mac));
        Talk();
        // A container may say something of its own accord between the two.
        Until.Holds(() =>
        {
            _switch.Do("mac", "flush", "--network", lan.Name);
            Assert.Equal(Foreign, Assert.Single(lan.Api.Macs(lan.Name), m => m.Mac != lan["host"].Mac).Mac);
        });
        Talk();
        Assert.Equal(lan["a"].Port, lan.Api.PortOf(lan.Name, lan["a"].Mac));

        void Talk() => Ping.Reaches(lan["a"], lan["b"].Address);
    }

    /// <summary>A black hole takes what comes from an address and what goes to it, until it is deleted.</summary>
    [Fact]
    public void ADroppedAddressIsCutOff()
    {
        Lan lan = Make("drop", 83);
        Station a = lan["a"], b = lan["b"], host = lan["host"];
        Ping.Reaches(a, b.Address);
        _switch.Do("mac", "drop", a.Mac, "--network", lan.Name);

        Ping.DoesNotReach(a, b.Address);
        Assert.True(lan.Api.Drops(a.Port, "black-hole") >= 3, $"{lan.Api.Counters(a.Port)}");
        using RawSocket fromB = b.OpenRaw();
        ulong before = lan.Api.Drops(b.Port, "black-hole");
        fromB.Send(Frame.Of(a.Mac, b.Mac));
        Until.True(() => lan.Api.Drops(b.Port, "black-hole") > before, "what goes to it is dropped too");
        Ping.Reaches(b, host.Address);
        Assert.Contains("drop", _switch.Do("mac", "list", a.Mac), StringComparison.Ordinal);

        _switch.Do("mac", "delete", a.Mac, "--network", lan.Name);
        Ping.Reaches(a, b.Address);
        Accounts.Balance(_switch);
    }

    /// <summary>A static address is on its port although nobody ever spoke there, and nobody else can take it.</summary>
    [Fact]
    public void AStaticAddressStaysWhereItIs()
    {
        Lan lan = Make("static", 84);
        Station a = lan["a"], b = lan["b"], host = lan["host"];
        _switch.Do("mac", "add", Foreign, "--network", lan.Name, "--port", b.Port);
        using Recording atB = b.Record(), atHost = host.Record();
        using RawSocket fromA = a.OpenRaw(), fromB = b.OpenRaw();

        fromA.Send(Frame.Of(Foreign, a.Mac, 1));
        atB.WaitFor(Frame.Of(Foreign, a.Mac, 1));
        fromA.Send(Frame.Of(Frame.Broadcast, Foreign, 2));
        Until.Equal(1ul, () => lan.Api.Drops(a.Port, "source-static"), "the impostor is dropped");
        fromB.Send(Frame.Of(Frame.Broadcast, Foreign, 3));
        atHost.WaitFor(Frame.Of(Frame.Broadcast, Foreign, 3));

        Assert.Equal([3u], atHost.Frames.Select(f => Frame.IsOurs(f, out uint number) ? number : 0).Where(n => n > 0));
        MacEntry entry = Assert.Single(lan.Api.Macs(lan.Name, Foreign));
        Assert.Equal((b.Port, true), (entry.Port, entry.IsStatic));
    }

    /// <summary>Beyond the limit nothing is learned; it is counted, told, and costs nobody his connection.</summary>
    [Fact]
    public void ALearnLimitHolds()
    {
        var lan = new Lan(_switch, "limit", 85, "learn_limit: 20");
        lan.AddHost();
        lan.AddContainers("", "a");
        lan.AddContainers("learn_limit: 3", "few");
        Ping.Reaches(lan["few"], lan["a"].Address);
        using RawSocket few = lan["few"].OpenRaw(), a = lan["a"].OpenRaw();

        few.SendAll(Sources("0b", 10), () => lan.Api.Counters(lan["few"].Port).RxPackets);
        Assert.Equal(3u, lan.Api.Counters(lan["few"].Port).LearnedMacs);
        Assert.Equal(3u, lan.Api.PortStatus(lan["few"].Port).LearnedMacs);
        Assert.Equal(8ul, lan.Api.Counters(lan["few"].Port).LearnLimited);
        a.SendAll(Sources("0c", 100), () => lan.Api.Counters(lan["a"].Port).RxPackets);
        Assert.Equal(20u, lan.Api.NetworkStatus(lan.Name).LearnedMacs);
        Assert.Equal(20, lan.Api.Macs(lan.Name).Count(m => !m.IsStatic));
        Assert.True(lan.Api.NetworkStatus(lan.Name).LearnLimited > 0);

        Until.True(() => lan.Api.Events().Any(e => e.Type == Event.Types.Type.LearnLimit && e.Network == lan.Name), "it is told");
        Ping.Reaches(lan["few"], lan["a"].Address);
        Ping.Reaches(lan["host"], lan["few"].Address);
        Accounts.Balance(_switch);
    }

    /// <summary>A learned address is forgotten when its time is over, a static one is not.</summary>
    [Fact]
    public void AddressesAge()
    {
        var lan = new Lan(_switch, "age", 86, "ageing_seconds: 2");
        lan.AddContainers("", "a", "b");
        using RawSocket a = lan["a"].OpenRaw();
        a.Send(Frame.Of(Frame.Broadcast, Foreign));
        _switch.Do("mac", "add", "02:00:00:00:0a:02", "--network", lan.Name, "--port", lan["b"].Port);
        Until.Equal(lan["a"].Port, () => lan.Api.PortOf(lan.Name, Foreign), "the address is learned");
        Until.Equal("", () => lan.Api.PortOf(lan.Name, Foreign), "the address is forgotten");
        Assert.True(lan.Api.NetworkStatus(lan.Name).Aged > 0);
        Assert.Equal(lan["b"].Port, lan.Api.PortOf(lan.Name, "02:00:00:00:0a:02"));
    }

    private Lan Make(string name, int subnet)
    {
        var lan = new Lan(_switch, name, subnet);
        lan.AddHost();
        lan.AddContainers("", "a", "b");
        return lan;
    }

    private static IEnumerable<byte[]> Sources(string group, int count) => Enumerable.Range(0, count).Select(i => Frame.Of(Frame.Broadcast, $"02:00:00:00:{group}:{i:x2}"));
}
