using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;
using static Dataplane.PacketTests.Harness.Overlay;

namespace Dataplane.PacketTests;

/// <summary>Tunnel ports as ports of a bridge: learning, moving, ageing, flooding; and whole networks of several switches.</summary>
public sealed unsafe class VxlanNetworkTests
{
    [Fact]
    public void WhatComesOutOfATunnelIsLearnedThere()
    {
        using TestSwitch sw = Node(others: 2);
        sw.Send(Underlay, From(Of(Broadcast, C)));
        Assert.Equal(FirstTunnel, sw.PortOf(C));
        Assert.Equal(1, sw.Learned(FirstTunnel));
        sw.Take(1);
        sw.Take(2);
        sw.Send(1, Of(C, A));
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Of(C, A), came, node: 1), came);
        Assert.Empty(sw.Take(2));
    }

    [Fact]
    public void AContainerThatMovesToAnotherNodeIsFoundThere()
    {
        using TestSwitch sw = Node(others: 2);
        sw.Send(Underlay, From(Of(Broadcast, C)), From(Of(Broadcast, C), node: 2));
        Assert.Equal(FirstTunnel + 1, sw.PortOf(C));
        Assert.Equal((0, 1, 1ul), (sw.Learned(FirstTunnel), sw.Learned(FirstTunnel + 1), sw.Runtime(FirstTunnel + 1).Moves));
        sw.Send(1, Of(Broadcast, C)); // and home
        Assert.Equal(1, sw.PortOf(C));
    }

    [Fact]
    public void AnAddressBehindATunnelAges()
    {
        using TestSwitch sw = Node();
        sw.Send(Underlay, From(Of(Broadcast, C)));
        sw.Age(TimeSpan.FromSeconds(200));
        Assert.Equal(FirstTunnel, sw.PortOf(C));
        sw.Age(TimeSpan.FromSeconds(200));
        Assert.Equal((0, 0), (sw.PortOf(C), sw.Learned(FirstTunnel)));
    }

    [Fact]
    public void WhatComesOutOfATunnelGoesIntoNone()
    {
        using TestSwitch sw = Node(others: 3);
        byte[] frame = Of(Broadcast, C);
        sw.Send(Underlay, From(frame));
        Assert.Empty(sw.Take(Underlay));
        Assert.Equal([frame], sw.Take(1));
        Assert.Equal([frame], sw.Take(2));
        sw.Send(Underlay, From(Of(Broadcast, D), node: 2));
        sw.Send(Underlay, From(Of(D, C)));
        Assert.Equal($"{FirstTunnel} SplitHorizon 1", sw.Drops());
    }

    [Fact]
    public void ATunnelThatTakesNoFloodedFramesGetsNone()
    {
        using TestSwitch sw = Node(others: 2);
        sw.Flags(FirstTunnel, clear: PortFlags.FloodBroadcast | PortFlags.FloodMulticast | PortFlags.FloodUnicast);
        sw.Send(1, Of(Broadcast, A));
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(Of(Broadcast, A), came, node: 2), came);
    }

    [Fact]
    public void ATracedFrameIsFollowedThroughBothEnds()
    {
        using TestSwitch sw = Node();
        using var watcher = new Watcher(sw, new CaptureWish { Kinds = CaptureKinds.Trace });
        sw.SetStatic(B, FirstTunnel);
        sw.Send(1, Of(B, A));
        List<Seen> seen = watcher.Take();
        byte[] outer = Assert.Single(sw.Take(Underlay));
        Assert.Equal(["Received 1", "SourceLearned 1", $"DestinationKnown {FirstTunnel}", $"Encapsulated {FirstTunnel}", $"Output {Underlay}"],
            seen.Select(s => $"{s.Step} {s.Port}"));
        CaptureRecord step = seen.Single(s => s.Step == TraceStep.Encapsulated).Record;
        Assert.Equal((Vni, (ulong)SourcePort(outer, false)), ((uint)step.A, step.B));
        Assert.Single(seen.Select(s => s.Record.Trace).Distinct());

        sw.Send(Underlay, From(Of(A, B)));
        seen = [.. watcher.Take().Where(s => s.Step is TraceStep.Received or TraceStep.Decapsulated or TraceStep.DestinationKnown or TraceStep.Output)];
        Assert.Equal([$"Received {Underlay}", $"Decapsulated {FirstTunnel}", $"Received {FirstTunnel}", "DestinationKnown 1", "Output 1"],
            seen.Select(s => $"{s.Step} {s.Port}"));
        step = seen[1].Record;
        Assert.Equal((Vni, 50ul), ((uint)step.A, step.B));
        Assert.Single(seen.Select(s => s.Record.Trace).Distinct());
        sw.Take(1);
    }

    [Fact]
    public void ACaptureAtATunnelSeesTheInnerFrames()
    {
        using TestSwitch sw = Node();
        using var watcher = new Watcher(sw, new CaptureWish { Kinds = CaptureKinds.In | CaptureKinds.Out, Ports = [FirstTunnel], SnapLength = 2000 });
        sw.SetStatic(B, FirstTunnel);
        sw.Send(1, Of(B, A));
        sw.Send(Underlay, From(Of(A, B, payload: 50)));
        Assert.Equal([(CaptureRecordKind.Out, 60), (CaptureRecordKind.In, 64)], watcher.Take().Select(s => (s.Kind, s.Bytes.Length)));
        sw.Take(1);
        sw.Take(Underlay);
    }

    /// <summary>Each way carries every size of frame, flooded and addressed, in one buffer and in two.</summary>
    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void TwoSwitchesCarryFramesOfEverySize(bool v6, bool zeroChecksum)
    {
        using TestSwitch one = Node(v6, zeroChecksum: zeroChecksum, mtu: 9200), two = Node(v6, zeroChecksum: zeroChecksum, mtu: 9200);
        MakeOther(two, v6, zeroChecksum);
        var random = new Random(7);
        one.SetStatic(B, FirstTunnel);
        two.SetStatic(B, 1);
        for (int size = 15; size <= 9000;)
        {
            var frames = new List<byte[]>();
            for (; frames.Count < 40 && size <= 9000; size++)
            {
                byte[] frame = Of(frames.Count % 8 == 0 ? Broadcast : B, A, payload: size - 14);
                random.NextBytes(frame.AsSpan(14));
                frames.Add(frame);
                one.Inject(1, frame, firstBuffer: size % 3 == 0 ? 14 + random.Next(size - 14) : int.MaxValue);
            }
            one.Poll();
            Carry(one, two);
            Assert.Equal(frames, two.Take(1));
            one.Drain(2);
            two.Drain(2);
        }
        Assert.Equal(("", ""), (one.Drops(), two.Drops()));
        Assert.Equal(FirstTunnel, two.PortOf(A));
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void TwoSwitchesCarrySegmentsOf64KiB(bool v6, bool innerV6)
    {
        using TestSwitch one = Node(v6, takesOffloads: true, mtu: 1500), two = Node(v6, mtu: 1500);
        MakeOther(two, v6, false);
        foreach (int mss in (int[])[500, 1448])
        {
            int payload = 65535 - 60 - 40;
            Unfinished packet = Inet.Tcp(payload, mss, v6: innerV6, options: 12);
            one.Send(1, packet);
            Carry(one, two);
            int fits = 1500 - (v6 ? 56 : 36) - (innerV6 ? 86 : 66);
            List<byte[]> came = two.Take(1);
            Assert.Equal(Reference.Cut(packet with { Vnet = packet.Vnet with { gso_size = (ushort)Math.Min(mss, fits) } }), came);
            one.Drain(2);
            two.Drain(2);
        }
        Assert.Equal(("", ""), (one.Drops(), two.Drops()));
    }

    [Fact]
    public void TwoWorkersShareATunnel()
    {
        using TestSwitch one = Node(workers: 2), two = Node(workers: 2);
        MakeOther(two, false, false);
        byte[] frame = Of(Broadcast, A);
        for (int i = 0; i < 50; i++)
        {
            one.Send(1, frame).Send(2, Of(Broadcast, B));
            Carry(one, two);
            Assert.Equal(2, two.Take(1).Count);
            one.Drain(1);
            one.Drain(2);
            two.Drain(2);
        }
    }

    /// <summary>What left by the underlay of one switch enters by that of the other, chains as chains.</summary>
    private static void Carry(TestSwitch from, TestSwitch to)
    {
        rte_mbuf* mbuf;
        while ((mbuf = from.TakeMbuf(Underlay)) != null)
        {
            byte[] outer = MbufCopy.ToBytes(mbuf);
            int first = mbuf->nb_segs > 1 ? mbuf->data_len : int.MaxValue;
            Shim.dps_mbuf_free(mbuf);
            if (!to.TryInject(Underlay, outer, first))
            {
                to.Poll();
                to.Inject(Underlay, outer, first);
            }
        }
        to.Poll();
    }

    /// <summary>Makes a node out of a switch that is node 1 to the other, as that is to it.</summary>
    private static void MakeOther(TestSwitch sw, bool v6, bool zeroChecksum)
    {
        TunnelRecord tunnel = Record(v6, 1, zeroChecksum);
        sw.Tunnel(FirstTunnel, tunnel with { Local = tunnel.Remote, Remote = tunnel.Local });
        sw.Readdress(Underlay, 1, Router);
    }
}
