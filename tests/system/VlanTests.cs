using System.Globalization;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Three trunks that carry every VLAN, and access ports of the first, the last and some between.</summary>
public sealed class VlanNetwork
{
    public static readonly int[] AccessVlans = [1, 2, 2047, 2048, 4093, 4094];

    public VlanNetwork(SharedSwitch shared)
    {
        Lan = new Lan(shared.Switch, "vlan", 41, "vlan_filtering: true");
        Lan.AddContainers("trunk: {}", "trunk", "even", "odd");
        foreach (int vlan in AccessVlans)
        {
            Lan.AddContainers(string.Create(CultureInfo.InvariantCulture, $"access_vlan: {vlan}"), Access(vlan));
        }
    }

    public Lan Lan { get; }

    public static string Access(int vlan) => string.Create(CultureInfo.InvariantCulture, $"v{vlan}");
}

/// <summary>IEEE 802.1Q: the VLANs on one trunk are networks of their own.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class VlanTests(VlanNetwork network) : IClassFixture<VlanNetwork>, IDisposable
{
    private const int Last = 4094;
    private const string Far = "02:00:00:00:06:01", Near = "02:00:00:00:06:02";

    private static readonly int[] All = [.. Enumerable.Range(1, Last)];

    private readonly Lan _lan = network.Lan;

    /// <summary>One broadcast per VLAN, numbered like its VLAN, comes out on the other trunks in that VLAN and on access ports of no other.</summary>
    [Fact]
    public void BroadcastsStayInTheirVlan()
    {
        Station trunk = _lan["trunk"], even = _lan["even"];
        using Recording atTrunk = even.Record();
        Dictionary<int, Recording> atAccess = VlanNetwork.AccessVlans.ToDictionary(v => v, v => _lan[VlanNetwork.Access(v)].Record());
        using RawSocket from = trunk.OpenRaw();

        from.SendAll(All.Select(v => Frame.Tag(Frame.Of(Frame.Broadcast, trunk.Mac, (uint)v), v)), () => _lan.Api.Counters(trunk.Port).RxPackets);

        Until.True(() => Seen(atTrunk).Count >= Last, "every VLAN has come out on the trunk", () => $"{Seen(atTrunk).Count} have");
        Assert.Equal(All.Select(v => (v, (uint)v)), Seen(atTrunk).Order());
        foreach ((int vlan, Recording at) in atAccess)
        {
            Until.True(() => Seen(at).Count > 0, $"something comes out on the access port of VLAN {vlan}");
            Assert.Equal([(0, (uint)vlan)], Seen(at));
            at.Dispose();
        }
    }

    /// <summary>One address is behind one trunk in even VLANs and behind another in odd ones: 4094 entries, none of which answers for another.</summary>
    [Fact]
    public void EveryVlanHasItsOwnAddresses()
    {
        Station trunk = _lan["trunk"], even = _lan["even"], odd = _lan["odd"];
        using RawSocket fromEven = even.OpenRaw(), fromOdd = odd.OpenRaw(), from = trunk.OpenRaw();
        fromEven.SendAll(All.Where(v => v % 2 == 0).Select(v => Frame.Tag(Frame.Of(Near, Far), v)), () => _lan.Api.Counters(even.Port).RxPackets);
        fromOdd.SendAll(All.Where(v => v % 2 == 1).Select(v => Frame.Tag(Frame.Of(Near, Far), v)), () => _lan.Api.Counters(odd.Port).RxPackets);
        Until.Equal(Last, () => _lan.Api.Macs(_lan.Name, Far).Count, "the address is known in every VLAN");

        using Recording atEven = even.Record(), atOdd = odd.Record();
        from.SendAll(All.Select(v => Frame.Tag(Frame.Of(Far, Near, (uint)v), v)), () => _lan.Api.Counters(trunk.Port).RxPackets);

        Until.True(() => Seen(atEven).Count + Seen(atOdd).Count >= Last, "every frame has come out somewhere", () => $"{Seen(atEven).Count} + {Seen(atOdd).Count} have");
        Assert.Equal(All.Where(v => v % 2 == 0).Select(v => (v, (uint)v)), Seen(atEven).Order());
        Assert.Equal(All.Where(v => v % 2 == 1).Select(v => (v, (uint)v)), Seen(atOdd).Order());
    }

    /// <summary>What access and trunk ports do not take, and where it is counted.</summary>
    [Fact]
    public void WhatDoesNotBelongIsDropped()
    {
        _lan.AddContainers("trunk: {vlans: [\"10-19\", \"30\"]}", "some");
        Station some = _lan["some"], access = _lan["v2"], trunk = _lan["trunk"];
        using Recording at = _lan["even"].Record();
        using RawSocket fromSome = some.OpenRaw(), fromAccess = access.OpenRaw(), fromTrunk = trunk.OpenRaw();

        Counts(some, "vlan-not-allowed", fromSome, Frame.Tag(Frame.Of(Frame.Broadcast, some.Mac, 1), 20));
        Counts(some, "vlan-untagged", fromSome, Frame.Of(Frame.Broadcast, some.Mac, 2));
        Counts(access, "vlan-tagged", fromAccess, Frame.Tag(Frame.Of(Frame.Broadcast, access.Mac, 3), 2));
        Counts(access, "vlan-tagged", fromAccess, Frame.Tag(Frame.Of(Frame.Broadcast, access.Mac, 4), 3));
        Counts(trunk, "vlan-not-allowed", fromTrunk, Frame.Tag(Frame.Of(Frame.Broadcast, trunk.Mac, 5), 4095));

        byte[] allowed = Frame.Tag(Frame.Of(Frame.Broadcast, some.Mac, 6), 30);
        fromSome.Send(allowed);
        at.WaitFor(allowed);
        Assert.Equal([(30, 6u)], Seen(at).Where(s => s.Number > 0));

        void Counts(Station station, string reason, RawSocket from, byte[] frame)
        {
            ulong before = _lan.Api.Drops(station.Port, reason);
            from.Send(frame);
            Until.True(() => _lan.Api.Drops(station.Port, reason) > before, $"{station.Port} drops {reason}", () => $"{_lan.Api.Counters(station.Port)}");
        }
    }

    /// <summary>Real hosts of one subnet reach those of their VLAN, on access ports or untagged on a trunk, and no others.</summary>
    [Fact]
    public void HostsTalkWithinTheirVlan()
    {
        var lan = new Lan(_lan.Switch, "hosts", 42, "vlan_filtering: true");
        lan.AddContainers("access_vlan: 10", "a10", "b10");
        lan.AddContainers("access_vlan: 20", "a20", "b20");
        lan.AddContainers("trunk: {native: 10}", "t10");
        foreach ((string from, string to, bool reaches) in new[]
        {
            ("a10", "b10", true), ("a20", "b20", true), ("t10", "a10", true), ("b10", "t10", true),
            ("a10", "a20", false), ("b20", "b10", false), ("t10", "a20", false), ("b20", "t10", false),
        })
        {
            (reaches ? (Action<Station, string, int, string[]>)Ping.Reaches : Ping.DoesNotReach)(lan[from], lan[to].Address, 1500, []);
        }
        Assert.Equal(10u, Assert.Single(lan.Api.Macs(lan.Name, lan["t10"].Mac)).Vlan);
        Assert.Equal(20u, Assert.Single(lan.Api.Macs(lan.Name, lan["a20"].Mac)).Vlan);
    }

    public void Dispose() => Accounts.Balance(_lan.Switch);

    private static List<(int Vlan, uint Number)> Seen(Recording capture)
    {
        var seen = new List<(int, uint)>();
        foreach (byte[] frame in capture.Frames)
        {
            if (Frame.IsOurs(frame, out uint number))
            {
                seen.Add((Frame.VlanOf(frame), number));
            }
        }
        return seen;
    }
}
