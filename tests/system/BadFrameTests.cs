using System.Text.Json;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Containers on a network without and on one with VLANs, which send what no kernel would.</summary>
public sealed class BadFrameNetworks
{
    public BadFrameNetworks(SharedSwitch shared)
    {
        Plain = new Lan(shared.Switch, "bad", 95);
        Plain.AddHost();
        Plain.AddContainers("", "bad", "good");
        // A container may set any MTU on its side.
        Plain["bad"].Namespace.Do("ip", "link", "set", "eth0", "mtu", "65521");
        Vlans = new Lan(shared.Switch, "badvlan", 96, "vlan_filtering: true");
        Vlans.AddContainers("access_vlan: 5", "access", "good");
        Vlans.AddContainers("trunk: {vlans: [\"5\", \"7\"]}", "trunk");
    }

    public Lan Plain { get; }

    public Lan Vlans { get; }
}

/// <summary>Bad frames are dropped with a reason that `stats` shows, or passed on as they are; nobody else notices.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class BadFrameTests(BadFrameNetworks networks) : IClassFixture<BadFrameNetworks>, IDisposable
{
    private readonly Lan _plain = networks.Plain, _vlans = networks.Vlans;

    /// <summary>What the sender sends, and the reason why it goes no further.</summary>
    public static TheoryData<string, string, string> Bad { get; } = new()
    {
        { "bad", "source is a multicast address", "source-multicast" },
        { "bad", "source is broadcast", "source-multicast" },
        { "bad", "source is zero", "source-zero" },
        { "bad", "source is the network's own address", "source-own" },
        { "bad", "to itself", "same-port" },
        { "bad", "to the bridge group", "link-local" },
        { "bad", "to the last link-local group", "link-local" },
        { "access", "tag cut off behind its type", "truncated" },
        { "access", "tag cut in the middle", "truncated" },
        { "access", "type behind the tag cut", "truncated" },
        { "access", "tagged", "vlan-tagged" },
        { "access", "stack of 300 tags", "vlan-tagged" },
        { "trunk", "untagged", "vlan-untagged" },
        { "trunk", "tagged", "vlan-not-allowed" },
        { "trunk", "stack of 300 tags", "vlan-not-allowed" },
    };

    /// <summary>Odd, yet none of a bridge's business.</summary>
    public static TheoryData<string, string> Harmless { get; } = new()
    {
        { "bad", "nothing but a header" },
        { "bad", "33 bytes" },
        { "bad", "IPv4 header cut" },
        { "bad", "stack of 300 tags" },
        { "bad", "to address zero" },
        { "trunk", "two tags" },
    };

    [Theory]
    [MemberData(nameof(Bad))]
    public void IsDroppedWithItsReason(string sender, string frame, string reason)
    {
        Lan lan = LanOf(sender);
        Station from = lan[sender];
        using Recording capture = lan["good"].Record();
        using RawSocket raw = from.OpenRaw();
        ulong before = lan.Api.Drops(from.Port, reason);
        byte[] bytes = Build(frame, from);
        for (int i = 0; i < 3; i++)
        {
            raw.Send(bytes);
        }

        // The kernel behind the port may have something to say too, untagged where that is wrong.
        Until.True(() => lan.Api.Drops(from.Port, reason) >= before + 3, $"{reason} is counted");
        Assert.True(DropsInStats(from, reason) >= before + 3, $"`stats` counts {reason}");
        Assert.DoesNotContain(capture.Frames, f => f.AsSpan().SequenceEqual(bytes));
        StillWorks(lan);
    }

    [Theory]
    [MemberData(nameof(Harmless))]
    public void PassesAsItIs(string sender, string frame)
    {
        Lan lan = LanOf(sender);
        Station from = lan[sender];
        byte[] bytes = Build(frame, from);
        using Recording capture = lan["good"].Record();
        using RawSocket raw = from.OpenRaw();
        raw.Send(bytes);
        // An access port gets frames without their outermost tag.
        capture.WaitFor(sender == "trunk" ? [.. bytes[..12], .. bytes[16..]] : bytes);
        StillWorks(lan);
    }

    /// <summary>The largest frame that a TAP device can carry, where 1500 bytes are allowed.</summary>
    [Fact]
    public void JumboFramesOf64KiBAreDroppedAtTheirOutput()
    {
        Station bad = _plain["bad"], good = _plain["good"], host = _plain["host"];
        using RawSocket raw = bad.OpenRaw();
        ulong atGood = _plain.Api.Drops(good.Port, "egress-mtu"), atHost = _plain.Api.Drops(host.Port, "egress-mtu");
        byte[] jumbo = new byte[65_535];
        Frame.Of(Frame.Broadcast, bad.Mac).CopyTo(jumbo, 0);
        for (int i = 0; i < 50; i++)
        {
            raw.Send(jumbo);
        }
        Until.Equal((atGood + 50, atHost + 50), () => (_plain.Api.Drops(good.Port, "egress-mtu"), _plain.Api.Drops(host.Port, "egress-mtu")), "each copy is counted");
        StillWorks(_plain);
    }

    /// <summary>Where it fits, it passes whole.</summary>
    [Fact]
    public void JumboFramesOf64KiBPassWhereTheyMay()
    {
        var lan = new Lan(_plain.Switch, "jumbo64", 97, "mtu: 65521");
        lan.AddContainers("", "a", "b");
        byte[] jumbo = new byte[65_535];
        Frame.Of(Frame.Broadcast, lan["a"].Mac, 7).CopyTo(jumbo, 0);
        ulong before = lan.Api.Counters(lan["b"].Port).TxBytes;
        using Recording capture = lan["b"].Record();
        using RawSocket raw = lan["a"].OpenRaw();
        raw.Send(jumbo);
        capture.WaitFor(f => Frame.IsOurs(f, out uint number) && number == 7, "the jumbo frame");
        Until.True(() => lan.Api.Counters(lan["b"].Port).TxBytes >= before + 65_535, "it is whole");
        Ping.Reaches(lan["a"], lan["b"].Address, 65_521, "-M", "do");
    }

    /// <summary>Whatever comes: nothing disappears, nobody crashes.</summary>
    [Fact]
    public void RandomBytesAreAccountedFor()
    {
        Station bad = _plain["bad"];
        uint engine = _plain.Api.Status.EnginePid;
        var random = new Random(20_260_101);
        using RawSocket raw = bad.OpenRaw();
        using ContinuousPing ping = Ping.Start(_plain["good"], _plain["host"].Address, "0.01");
        raw.SendAll(Enumerable.Range(0, 2000).Select(_ => Bytes()), () => _plain.Api.Counters(bad.Port).RxPackets);
        ping.WaitForMore(10);
        Assert.Empty(ping.End());
        Assert.Equal(engine, _plain.Api.Status.EnginePid);
        _plain.Switch.Do("mac", "flush", "--network", _plain.Name);

        byte[] Bytes()
        {
            byte[] bytes = new byte[random.Next(14, 1515)];
            random.NextBytes(bytes);
            return bytes;
        }
    }

    public void Dispose() => Accounts.Balance(_plain.Switch);

    private Lan LanOf(string sender) => sender == "bad" ? _plain : _vlans;

    /// <summary>As the operator sees it.</summary>
    private ulong DropsInStats(Station station, string reason)
    {
        JsonElement drops = _plain.Switch.Json("stats", "--port", station.Port, "--drops").GetProperty("drops");
        return drops.EnumerateArray().Where(d => d.GetProperty("reason").GetString() == reason).Select(d => d.GetProperty("packets").GetUInt64()).SingleOrDefault();
    }

    private byte[] Build(string frame, Station sender) => frame switch
    {
        "source is a multicast address" => Frame.Of(Frame.Broadcast, "01:00:5e:00:00:01"),
        "source is broadcast" => Frame.Of(Frame.Broadcast, Frame.Broadcast),
        "source is zero" => Frame.Of(Frame.Broadcast, "00:00:00:00:00:00"),
        "source is the network's own address" => Frame.Of(Frame.Broadcast, _plain.Api.NetworkStatus(_plain.Name).Mac),
        "to itself" => Frame.Of(sender.Mac, sender.Mac),
        "to address zero" => Frame.Of("00:00:00:00:00:00", sender.Mac),
        "to the bridge group" => Frame.Of(Frame.BridgeGroup, sender.Mac),
        "to the last link-local group" => Frame.Of("01:80:c2:00:00:0f", sender.Mac),
        "untagged" => Frame.Of(Frame.Broadcast, sender.Mac),
        "tagged" => Frame.Tag(Frame.Of(Frame.Broadcast, sender.Mac), 6),
        "two tags" => Frame.Tag(Frame.Tag(Frame.Of(Frame.Broadcast, sender.Mac), 6), 5),
        "stack of 300 tags" => Enumerable.Repeat(6, 300).Aggregate(Frame.Of(Frame.Broadcast, sender.Mac), (inner, vlan) => Frame.Tag(inner, vlan)),
        "tag cut off behind its type" => Frame.Tag(Frame.Of(Frame.Broadcast, sender.Mac), 5)[..14],
        "tag cut in the middle" => Frame.Tag(Frame.Of(Frame.Broadcast, sender.Mac), 5)[..15],
        "type behind the tag cut" => Frame.Tag(Frame.Of(Frame.Broadcast, sender.Mac), 5)[..17],
        "nothing but a header" => Frame.Of(Frame.Broadcast, sender.Mac)[..14],
        "33 bytes" => Frame.Of(Frame.Broadcast, sender.Mac)[..33],
        "IPv4 header cut" => Frame.Of(Frame.Broadcast, sender.Mac, 0x45000000, type: 0x0800)[..20],
        _ => throw new ArgumentException($"no such frame: {frame}", nameof(frame)),
    };

    private static void StillWorks(Lan lan) => Ping.Reaches(lan["good"], lan.Stations.First(s => s != lan["good"]).Address);
}
