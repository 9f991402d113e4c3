using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// 802.1Q: what a port takes, which ports carry it, and in which form it leaves.
/// <para>
/// Ports are written "access 10" or "trunk 10 20 native 10". Frames are written as their tags, the outer one first: "-" for
/// none, "10", "p5/10" with priority 5, "p5d/10" with the drop-eligible bit, "s100" for a service tag (802.1ad).
/// </para>
/// </summary>
public sealed class VlanTests
{
    public static TheoryData<string, string, string, string> Matrix => new()
    {
        // input port               frame              output port              what arrives, or why nothing does
        { "access 10",              "-",               "access 10",             "-" },
        { "access 10",              "-",               "access 20",             "NoFloodTarget" },
        { "access 10",              "-",               "trunk 10 20",           "10" },
        { "access 10",              "-",               "trunk 20",              "NoFloodTarget" },
        { "access 10",              "-",               "trunk 10 native 10",    "-" },
        { "access 10",              "-",               "trunk 10 native 20",    "10" },
        { "access 1",               "-",               "trunk 1",               "1" },
        { "access 4094",            "-",               "trunk 4094",            "4094" },
        { "access 10",              "10",              "access 10",             "VlanTagged" },
        { "access 10",              "20",              "access 10",             "VlanTagged" },
        { "access 10",              "4095",            "access 10",             "VlanTagged" },

        // A priority tag names no VLAN: the frame is treated as untagged, and keeps its priority where it leaves tagged.
        { "access 10",              "0",               "access 10",             "-" },
        { "access 10",              "p5/0",            "access 10",             "-" },
        { "access 10",              "p5/0",            "trunk 10",              "p5/10" },
        { "access 10",              "p5d/0",           "trunk 10",              "p5d/10" },
        { "access 10",              "p5/0",            "trunk 10 native 10",    "-" },
        { "access 10",              "0 20",            "access 10",             "20" },
        { "trunk 10 native 10",     "p3/0",            "trunk 10",              "p3/10" },
        { "trunk 10 native 10",     "p3/0",            "access 10",             "-" },
        { "trunk 10",               "p3/0",            "access 10",             "VlanUntagged" },

        { "trunk 10 20",            "-",               "trunk 10 20",           "VlanUntagged" },
        { "trunk 10 20",            "10",              "access 10",             "-" },
        { "trunk 10 20",            "20",              "access 10",             "NoFloodTarget" },
        { "trunk 10 20",            "10",              "trunk 10 20",           "10" },
        { "trunk 10 20",            "20",              "trunk 10",              "NoFloodTarget" },
        { "trunk 10 20",            "30",              "trunk 10 20 30",        "VlanNotAllowed" },
        { "trunk 10 20",            "p7/10",           "trunk 10 20",           "p7/10" },
        { "trunk 10 20",            "p7d/10",          "trunk 10 20",           "p7d/10" },
        { "trunk 10 20",            "p7/10",           "trunk 10 native 10",    "-" },
        { "trunk 10 native 10",     "-",               "access 10",             "-" },
        { "trunk 10 native 10",     "-",               "trunk 10",              "10" },
        { "trunk 10 native 10",     "-",               "trunk 10 native 10",    "-" },
        { "trunk 10 native 10",     "10",              "access 10",             "-" },
        { "trunk 10 native 10",     "p2/10",           "trunk 10",              "p2/10" },
        { "trunk 10 20 native 10",  "20",              "trunk 20 native 20",    "-" },
        { "trunk 4094",             "4094",            "trunk 4094",            "4094" },
        { "trunk 4095",             "4095",            "trunk 4095",            "VlanNotAllowed" },
        { "trunk 10",               "4095",            "trunk 10",              "VlanNotAllowed" },

        // Only the outer C-tag counts; what is under it, and a service tag, is payload.
        { "trunk 10",               "10 20",           "access 10",             "20" },
        { "trunk 10",               "10 20",           "trunk 10",              "10 20" },
        { "trunk 10",               "10 10 10 10",     "access 10",             "10 10 10" },
        { "trunk 10",               "10 s100",         "access 10",             "s100" },
        { "access 10",              "s100",            "access 10",             "s100" },
        { "access 10",              "s100",            "trunk 10",              "10 s100" },
        { "access 10",              "s100 10",         "trunk 10",              "10 s100 10" },
        { "trunk 10",               "s100 10",         "trunk 10",              "VlanUntagged" },
        { "trunk 10 native 10",     "s100 20",         "access 10",             "s100 20" },
    };

    [Theory]
    [MemberData(nameof(Matrix))]
    public void FloodedFrames(string input, string frame, string output, string arrives)
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        Port(sw, 1, input);
        Port(sw, 2, output);
        sw.Send(1, Written(Broadcast, frame));
        Check(sw, arrives, Broadcast);
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void FramesForAKnownAddress(string input, string frame, string output, string arrives)
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        Port(sw, 1, input);
        Port(sw, 2, output);
        foreach (int vlan in (int[])[1, 10, 20, 30, 4094])
        {
            sw.SetStatic(B, 2, vlan: vlan);
        }
        sw.Send(1, Written(B, frame));
        Check(sw, arrives == "NoFloodTarget" ? "VlanNotAllowed" : arrives, B);
    }

    [Theory]
    [MemberData(nameof(Matrix))]
    public void FramesThatOthersHold(string input, string frame, string output, string arrives)
    {
        // The other holder of the same buffer must not see the tag come or go.
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        Port(sw, 1, input);
        Port(sw, 2, output);
        byte[] sent = Written(Broadcast, frame);
        unsafe
        {
            Interop.Dpdk.rte_mbuf* mbuf = MbufCopy.FromBytes(sent, sw.Engine.Small, sw.Engine.Large);
            Interop.Dpdk.Shim.dps_mbuf_ref(mbuf, 1);
            Assert.True(sw.TryInject(1, mbuf));
            sw.Poll();
            Check(sw, arrives, Broadcast);
            Assert.Equal(sent, MbufCopy.ToBytes(mbuf));
            Interop.Dpdk.Shim.dps_mbuf_free(mbuf);
        }
    }

    [Theory]
    [InlineData("access 10", "-")]
    [InlineData("access 10", "p6/0")]
    [InlineData("trunk 10 20", "10")]
    [InlineData("trunk 10 20", "p6/10")]
    [InlineData("trunk 10 20 native 10", "-")]
    public void OneFloodReachesPortsOfEachForm(string input, string frame)
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        string priority = frame.Contains('/', StringComparison.Ordinal) ? frame[..(frame.IndexOf('/', StringComparison.Ordinal) + 1)] : "";
        (int Port, string Kind, string? Arrives)[] outputs =
        [
            (2, "access 10", "-"), (3, "trunk 10 20", $"{priority}10"), (4, "trunk 10 native 10", "-"), (5, "access 20", null),
            (6, "trunk 10 native 20", $"{priority}10"), (7, "access 10", "-"), (8, "trunk 20", null),
        ];
        Port(sw, 1, input);
        foreach ((int port, string kind, _) in outputs)
        {
            Port(sw, port, kind);
        }
        sw.Send(1, Written(Broadcast, frame));
        foreach ((int port, _, string? arrives) in outputs)
        {
            Assert.Equal(arrives is null ? [] : [Written(Broadcast, arrives)], sw.Take(port));
        }
        Assert.Equal((1ul, 4ul), (sw.Counters(1).Flooded, sw.Counters(1).Copies));
    }

    [Fact]
    public void WithoutABufferForTheSecondFormTheFirstStillArrives()
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        sw.Access(1, 10).Trunk(2, [10]).Access(3, 10).Trunk(4, [10]);
        sw.Inject(1, Of(Broadcast, A));
        using (Hoard.All(sw.Engine.Small))
        {
            sw.Poll();
            Assert.Equal("2 4", sw.Outputs());
        }
        Assert.Equal("3 EgressNoBuffer 1", sw.Drops());
    }

    [Fact]
    public void EveryVlanOfATrunkIsAWorldOfItsOwn()
    {
        using TestSwitch sw = new(options: new SegmentOptions { MacCapacity = 32_768, MaxPorts = 64, MaxWorkers = 1 }, bridge: TestSwitch.VlanAware);
        int[] all = [.. Enumerable.Range(1, 4094)];
        sw.Trunk(1, all).Trunk(2, all).Trunk(3, all);
        Dictionary<int, int> access = Enumerable.Range(4, 50).ToDictionary(port => port * 80 % 4095, port => port);
        foreach ((int vlan, int port) in access)
        {
            sw.Access(port, vlan);
        }

        // The same address lives behind trunk 1 in odd VLANs and behind trunk 2 in even ones.
        foreach (int vlan in all)
        {
            byte[] hello = Tagged(Broadcast, A, vlan);
            sw.Send(vlan % 2 == 1 ? 1 : 2, hello);
            Assert.Equal(hello, Assert.Single(sw.Take(3)));
            Assert.Equal(hello, Assert.Single(sw.Take(vlan % 2 == 1 ? 2 : 1)));
            if (access.TryGetValue(vlan, out int port))
            {
                Assert.Equal(Of(Broadcast, A), Assert.Single(sw.Take(port)));
            }
            Assert.Equal("", sw.Outputs());
        }
        Assert.Equal((2047, 2047), (sw.Learned(1), sw.Learned(2)));
        Assert.Equal(4094, sw.Macs.List().Count);

        foreach (int vlan in all)
        {
            Assert.Equal(vlan % 2 == 1 ? 1 : 2, sw.PortOf(A, vlan));
            byte[] answer = Tagged(A, B, vlan);
            sw.Send(3, answer);
            Assert.Equal(answer, Assert.Single(sw.Take(vlan % 2 == 1 ? 1 : 2)));
            Assert.Equal("", sw.Outputs());
        }
        Assert.Equal(4094, sw.Learned(3));

        // And they age in each, too.
        sw.Age(TimeSpan.FromSeconds(300));
        Assert.Empty(sw.Macs.List());
        Assert.Equal((0, 0, 0), (sw.Learned(1), sw.Learned(2), sw.Learned(3)));
    }

    [Fact]
    public void AnAddressMovesWithinItsVlanOnly()
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        sw.Trunk(1, [10, 20]).Trunk(2, [10, 20]).Trunk(3, [10, 20]);
        sw.Send(1, Tagged(Broadcast, B, 10), Tagged(Broadcast, B, 20));
        sw.Send(2, Tagged(Broadcast, B, 20));
        Assert.Equal((1, 2), (sw.PortOf(B, 10), sw.PortOf(B, 20)));
        Assert.Equal((0ul, 1ul), (sw.Runtime(1).Moves, sw.Runtime(2).Moves));
    }

    [Fact]
    public void AnEventNamesTheVlan()
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        sw.Trunk(1, [77]).Trunk(2, [77]);
        for (int i = 0; i <= Tables.MacTable.FlapThreshold; i++)
        {
            sw.Send(1 + (i % 2), Tagged(Broadcast, B, 77));
        }
        EventRecord told = Assert.Single(sw.Events());
        Assert.Equal((EventKind.MacFlap, 77), (told.Kind, told.Vlan));
    }

    [Fact]
    public void ABridgeThatDoesNotLookAtVlansPassesAnyStack()
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2);
        for (int depth = 0; depth <= 20; depth++)
        {
            byte[] frame = Tagged(Broadcast, A, [.. Enumerable.Range(4090, depth)]);
            sw.Send(1, frame);
            Assert.Equal(frame, Assert.Single(sw.Take(2)));
        }
        Assert.Equal(1, sw.Learned(1));
    }

    public static TheoryData<string, string, string, int, bool> VnetMatrix
    {
        get
        {
            var rows = new TheoryData<string, string, string, int, bool>();
            foreach (int mss in (int[])[0, 1000])
            {
                foreach (bool v6 in (bool[])[false, true])
                {
                    rows.Add("access 10", "-", "access 10", mss, v6);
                    rows.Add("access 10", "-", "trunk 10", mss, v6);
                    rows.Add("access 10", "p4/0", "access 10", mss, v6);
                    rows.Add("access 10", "p4/0", "trunk 10", mss, v6);
                    rows.Add("trunk 10", "10", "access 10", mss, v6);
                    rows.Add("trunk 10", "p4/10", "trunk 10", mss, v6);
                    rows.Add("trunk 10", "10 20", "access 10", mss, v6);
                }
            }
            return rows;
        }
    }

    /// <summary>Offsets in the vnet header count from the frame's first byte, so they move with a tag.</summary>
    [Theory]
    [MemberData(nameof(VnetMatrix))]
    public void WorkLeftUndoneFollowsTheTag(string input, string frame, string output, int mss, bool v6)
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        Port(sw, 1, input, takesOffloads: true);
        Port(sw, 2, output, takesOffloads: true);
        Port(sw, 3, output);
        Unfinished packet = Inet.Tcp(payload: 3001, mss, v6, tags: Tags(frame), destination: Broadcast);
        sw.Change(3, record => record with { Mtu = 9000 });
        sw.Change(2, record => record with { Mtu = 9000 });
        sw.Send(1, packet);

        Unfinished got = Assert.Single(sw.TakeUnfinished(2));
        int shift = got.Frame.Length - packet.Frame.Length;
        virtio_net_hdr expected = packet.Vnet;
        expected.csum_start = (ushort)(expected.csum_start + shift);
        expected.hdr_len = (ushort)(expected.hdr_len == 0 ? 0 : expected.hdr_len + shift);
        Assert.Equal(expected, got.Vnet);
        Assert.Equal(packet.Frame[packet.Vnet.csum_start..], got.Frame[got.Vnet.csum_start..]);
        // The port that cannot gets the same, finished; and that is right to the last bit.
        List<byte[]> finished = sw.Take(3);
        Assert.Equal(mss == 0 ? 1 : 4, finished.Count);
        Assert.Equal(Reference.Finished(packet).Payload, finished.SelectMany(f => Reference.Read(f).Payload).ToArray());
        Assert.All(finished, f => Assert.Equal(got.Frame[..(got.Vnet.csum_start - (v6 ? 40 : 20))], f[..(got.Vnet.csum_start - (v6 ? 40 : 20))]));
    }

    private static void Check(TestSwitch sw, string arrives, string destination)
    {
        if (Enum.TryParse(arrives, out DropReason reason) && !char.IsDigit(arrives[0]) && arrives != "-")
        {
            Assert.Empty(sw.Take(2));
            Assert.Equal($"1 {reason} 1", sw.Drops());
            return;
        }
        Assert.Equal(Written(destination, arrives), Assert.Single(sw.Take(2)));
        Assert.Equal("", sw.Drops());
    }

    private static void Port(TestSwitch sw, int index, string text, bool takesOffloads = false)
    {
        string[] words = text.Split(' ');
        int native = Array.IndexOf(words, "native");
        int[] vlans = [.. words[1..(native < 0 ? words.Length : native)].Select(Number)];
        _ = words[0] == "access"
            ? sw.Access(index, vlans[0], takesOffloads: takesOffloads)
            : sw.Trunk(index, vlans, native < 0 ? 0 : Number(words[native + 1]), takesOffloads);
    }

    private static byte[] Written(string destination, string text) => WithTags(Of(destination, A), Tags(text));

    private static int[] Tags(string text) => text == "-" ? [] : [.. text.Split(' ').Select(Tag)];

    private static int Tag(string text)
    {
        int slash = text.IndexOf('/', StringComparison.Ordinal);
        string priority = slash < 0 ? "" : text[..slash], vlan = text[(slash + 1)..];
        int tag = vlan[0] == 's' ? ServiceTag(Number(vlan[1..])) : Number(vlan);
        tag |= priority.Length == 0 ? 0 : (priority[1] - '0') << 13;
        return priority.EndsWith('d') ? tag | 0x1000 : tag;
    }

    private static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);
}
