using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>What no well-behaved sender sends: too short, too long, cut, in pieces, with addresses that make no sense.</summary>
public sealed unsafe class BadInputTests
{
    /// <summary>Frames whose headers reach to different depths.</summary>
    private static readonly Dictionary<string, byte[]> Frames = new()
    {
        ["plain"] = Of(Broadcast, A),
        ["one tag"] = Tagged(Broadcast, A, 10),
        ["two tags"] = Tagged(Broadcast, A, 10, 20),
        ["service tag"] = WithTags(Of(Broadcast, A), ServiceTag(100), 10),
        ["nothing but tags"] = Tagged(Broadcast, A, [.. Enumerable.Repeat(10, 12)])[..62],
        ["TCPv4 with options"] = Inet.Tcp(20, options: 12, destination: Broadcast).Frame,
        ["TCPv6 in a VLAN"] = Inet.Tcp(20, v6: true, tags: [10], destination: Broadcast).Frame,
    };

    public static TheoryData<string, bool> Cases
    {
        get
        {
            var rows = new TheoryData<string, bool>();
            foreach (string frame in Frames.Keys)
            {
                rows.Add(frame, false);
                rows.Add(frame, true);
            }
            return rows;
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void CutAtEveryLength(string name, bool vlanAware)
    {
        byte[] whole = Frames[name];
        using TestSwitch sw = Trunks(vlanAware);
        for (int length = 0; length <= whole.Length; length++)
        {
            byte[] frame = whole[..length];
            sw.Send(1, frame);
            Assert.Equal(length < Needed(whole, vlanAware) ? [] : [frame], sw.Take(2));
        }
        Assert.Equal((ulong)Needed(whole, vlanAware), sw.Drops(1, DropReason.Truncated));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void InTwoBuffersThatMeetAnywhere(string name, bool vlanAware)
    {
        byte[] frame = Frames[name];
        using TestSwitch sw = Trunks(vlanAware);
        for (int first = 0; first <= frame.Length; first++)
        {
            sw.Inject(1, frame, first);
            sw.Poll();
            // The switch reads headers in the first buffer only: no device splits them.
            Assert.Equal(first < Needed(frame, vlanAware) ? [] : [frame], sw.Take(2));
        }
        Assert.Equal((ulong)Needed(frame, vlanAware), sw.Drops(1, DropReason.Truncated));
    }

    [Theory]
    [InlineData("pushed")]
    [InlineData("popped")]
    [InlineData("rewritten")]
    public void InTwoBuffersWhileATagComesOrGoes(string what)
    {
        byte[] untagged = Of(Broadcast, A, payload: 100), tagged = WithTags(untagged, 10), priority = WithTags(untagged, 0x6000);
        (byte[] sent, byte[] arrives, int least) = what switch
        {
            "pushed" => (untagged, tagged, 14),
            "popped" => (tagged, untagged, 18),
            _ => (priority, WithTags(untagged, 0x6000 | 10), 18),
        };
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        sw.Trunk(1, [10], native: sent == tagged ? 0 : 10).Trunk(2, [10], native: arrives == untagged ? 10 : 0).Trunk(3, [10], native: arrives == untagged ? 10 : 0);
        for (int first = 0; first <= sent.Length; first++)
        {
            sw.Inject(1, sent, first);
            sw.Poll();
            Assert.Equal(first < least ? [] : [arrives], sw.Take(2));
            Assert.Equal(first < least ? [] : [arrives], sw.Take(3));
        }
    }

    [Fact]
    public void InAsManyBuffersAsThereAreBytes()
    {
        using TestSwitch sw = new TestSwitch(bridge: TestSwitch.VlanAware).Access(1, 10).Trunk(2, [10]).Access(3, 10);
        byte[] frame = Of(Broadcast, A, payload: 200);
        rte_mbuf* chain = Chain(sw, frame, 14, 1);
        Assert.Equal(201, chain->nb_segs);
        Assert.True(sw.TryInject(1, chain));
        sw.Poll();
        Assert.Equal(WithTags(frame, 10), Assert.Single(sw.Take(2)));
        Assert.Equal(frame, Assert.Single(sw.Take(3)));
    }

    [Fact]
    public void EmptyBuffersInAChain()
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2);
        byte[] frame = Of(Broadcast, A);
        rte_mbuf* chain = Chain(sw, frame, 60, 0);
        Assert.Equal(2, chain->nb_segs);
        Assert.True(sw.TryInject(1, chain));
        sw.Poll();
        Assert.Equal(frame, Assert.Single(sw.Take(2)));
    }

    [Theory]
    [InlineData("01:00:00:00:00:00", DropReason.SourceMulticast)]
    [InlineData("03:00:00:00:00:0a", DropReason.SourceMulticast)]
    [InlineData("33:33:00:00:00:01", DropReason.SourceMulticast)]
    [InlineData("01:80:c2:00:00:00", DropReason.SourceMulticast)]
    [InlineData("ff:ff:ff:ff:ff:ff", DropReason.SourceMulticast)]
    [InlineData("00:00:00:00:00:00", DropReason.SourceZero)]
    [InlineData(C, DropReason.SourceOwn)]
    [InlineData("00:00:00:00:00:01", DropReason.Count)]
    [InlineData("fe:ff:ff:ff:ff:ff", DropReason.Count)]
    public void SourcesThatMakeNoSense(string source, DropReason reason)
    {
        using TestSwitch sw = new TestSwitch(bridge: b => b with { Mac = MacAddress.Parse(C).Value }).Port(1).Port(2);
        sw.Send(1, Of(B, source), Of(Broadcast, source), Of(source, source));
        Assert.Equal(reason == DropReason.Count ? "1 SamePort 1" : $"1 {reason} 3", sw.Drops());
        Assert.Equal(reason == DropReason.Count ? 1 : 0, sw.Learned(1));
    }

    [Fact]
    public void ABridgeWithoutAddressDropsNoneForIt()
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2);
        sw.Send(1, Of(Broadcast, "00:00:00:00:00:00"));
        Assert.Equal("1 SourceZero 1", sw.Drops());
    }

    /// <summary>Around the size of a small buffer, a jumbo frame, a 64 KiB segment, and all that two buffers hold.</summary>
    [Theory]
    [InlineData(2047)]
    [InlineData(2048)]
    [InlineData(2049)]
    [InlineData(9014)]
    [InlineData(65_403)]
    [InlineData(65_407)]
    [InlineData(65_408)]
    [InlineData(65_535)]
    [InlineData(65_549)]
    public void Giants(int length)
    {
        using TestSwitch sw = new(bridge: TestSwitch.VlanAware);
        sw.Access(1, 10).Access(2, 10).Trunk(3, [10]).Trunk(4, [10]).Access(5, 10);
        foreach (int port in (int[])[1, 2, 3, 4])
        {
            sw.Change(port, record => record with { Mtu = ushort.MaxValue });
        }
        byte[] frame = Of(Broadcast, A, payload: length - 14), tagged = WithTags(frame, 10);
        // Flooded: both forms, by reference and by copy. In one buffer and in two.
        foreach (int first in (int[])[18, 1000, int.MaxValue])
        {
            if (first < length - 65_407)
            {
                continue; // the rest must fit the second one
            }
            sw.Inject(1, frame, first);
            sw.Poll();
            Check(expected2: frame, expected3: tagged, expected4: tagged);
        }
        if (length <= 65_535)
        {
            sw.Send(4, tagged);
            Assert.Equal(frame, Assert.Single(sw.Take(1)));
            Check(expected2: frame, expected3: tagged, expected4: null);
        }
        // Known: a tag comes and goes in place.
        sw.SetStatic(B, 3, vlan: 10);
        sw.SetStatic(C, 2, vlan: 10);
        byte[] unicast = Of(B, A, payload: length - 14);
        sw.Send(1, unicast);
        Assert.Equal(WithTags(unicast, 10), Assert.Single(sw.Take(3)));
        unicast = Of(C, B, payload: length - 14);
        sw.Send(3, WithTags(unicast, 10));
        Assert.Equal(unicast, Assert.Single(sw.Take(2)));
        // The port of an ordinary MTU got none of them.
        Assert.Equal("", sw.Outputs());
        Assert.NotEqual(0ul, sw.Drops(5, DropReason.EgressMtu));

        void Check(byte[] expected2, byte[] expected3, byte[]? expected4)
        {
            Assert.Equal(expected2, Assert.Single(sw.Take(2)));
            Assert.Equal(expected3, Assert.Single(sw.Take(3)));
            Assert.Equal(expected4 is null ? [] : [expected4], sw.Take(4));
        }
    }

    /// <summary>Bytes that must lie in the first buffer.</summary>
    private static int Needed(byte[] frame, bool vlanAware) => vlanAware && frame[12] == 0x81 ? 18 : 14;

    /// <summary>Two trunks that pass tagged and untagged frames as they are.</summary>
    private static TestSwitch Trunks(bool vlanAware) => new TestSwitch(bridge: vlanAware ? TestSwitch.VlanAware : null)
        .Trunk(1, [10], native: 11).Trunk(2, [10], native: 11);

    /// <summary>A frame in a first buffer of some bytes, and then in buffers of so many; 0 stands for an empty one and the rest.</summary>
    private static rte_mbuf* Chain(TestSwitch sw, byte[] frame, int first, int next)
    {
        rte_mbuf* head = sw.Engine.Small.Allocate(frame.AsSpan(0, first));
        rte_mbuf* last = head;
        for (int at = first; at < frame.Length || (next == 0 && head->nb_segs == 1);)
        {
            int length = Math.Min(next, frame.Length - at);
            rte_mbuf* part = sw.Engine.Small.Allocate(frame.AsSpan(at, length));
            last->next = part;
            last = part;
            head->nb_segs++;
            head->pkt_len += (uint)length;
            at += length;
        }
        return head;
    }
}
