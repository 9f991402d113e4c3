using Dataplane.Observation;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>Capturing: who wants packets gets those and no others, whole and in order, and forwarding does not notice.</summary>
public sealed unsafe class CaptureTests
{
    [Fact]
    public void Packets_are_seen_as_they_come_in_and_as_they_go_out()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2).Port(3);
        using var watcher = new Watcher(lan, new CaptureWish());
        byte[] flooded = Of(B, A), answer = Of(A, B, payload: 100);
        lan.Send(1, flooded).Send(2, answer);

        List<Seen> seen = watcher.Take();
        Assert.Equal("In 1, Out 2, Out 3, In 2, Out 1", string.Join(", ", seen.Select(s => $"{s.Kind} {s.Port}")));
        Assert.All(seen.Take(3), s => Assert.Equal(flooded, s.Bytes));
        Assert.All(seen.Skip(3), s => Assert.Equal(answer, s.Bytes));
        Assert.All(seen, s => Assert.Equal((uint)s.Bytes.Length, s.Record.Original));
        lan.Outputs();
    }

    public static TheoryData<string, CaptureKinds, int[], string> Wishes => new()
    {
        // what is asked for          kinds                                   ports      what is seen
        { "everything",               CaptureKinds.In | CaptureKinds.Out,     [],        "In 1, Out 2, Out 3" },
        { "only what comes in",       CaptureKinds.In,                        [],        "In 1" },
        { "only what goes out",       CaptureKinds.Out,                       [],        "Out 2, Out 3" },
        { "one port",                 CaptureKinds.In | CaptureKinds.Out,     [3],       "Out 3" },
        { "two ports",                CaptureKinds.In | CaptureKinds.Out,     [1, 2],    "In 1, Out 2" },
        { "a port without traffic",   CaptureKinds.In | CaptureKinds.Out,     [9],       "" },
        { "drops, of which is none",  CaptureKinds.Drops,                     [],        "" },
    };

    [Theory, MemberData(nameof(Wishes))]
    public void A_session_sees_what_it_asked_for(string asked, CaptureKinds kinds, int[] ports, string expected)
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2).Port(3);
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = kinds, Ports = ports });
        lan.Send(1, Of(Broadcast, A));
        Assert.True(expected == string.Join(", ", watcher.Take().Select(s => $"{s.Kind} {s.Port}")), asked);
        lan.Outputs();
    }

    [Fact]
    public void Each_dropped_packet_is_seen_with_the_reason_that_is_counted()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2).Port(3, PortFlags.Default & ~PortFlags.Enabled);
        lan.Send(2, Of(A, B));
        lan.Outputs();
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Drops });
        byte[] runt = Of(B, A)[..13], multicast = Of(B, Broadcast), large = Of(B, A, payload: 1600), disabled = Of(B, C);
        lan.Send(1, runt, multicast, large).Send(3, disabled);

        (DropReason Reason, int Port, byte[] Frame)[] expected =
        [
            (DropReason.Truncated, 1, runt), (DropReason.SourceMulticast, 1, multicast), (DropReason.EgressMtu, 2, large), (DropReason.PortDisabled, 3, disabled),
        ];
        List<Seen> seen = watcher.Take();
        Assert.Equal(expected.Select(e => (e.Reason, e.Port)), seen.Select(s => ((DropReason)s.Record.Code, s.Port)));
        Assert.Equal(expected.Select(e => e.Frame), seen.Select(s => s.Bytes));
        Assert.All(expected, e => Assert.Equal(1ul, lan.Drops(e.Port, e.Reason)));
    }

    [Fact]
    public void Only_drops_for_the_reasons_asked_for_are_seen()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Drops, Reasons = [DropReason.SourceZero] });
        lan.Send(1, Of(B, Broadcast), Of(B, "00:00:00:00:00:00"));
        Assert.Equal([(byte)DropReason.SourceZero], watcher.Take().Select(s => s.Record.Code));
    }

    /// <summary>Each reason asks for itself and for no other one, however many there are.</summary>
    [Fact]
    public void Every_reason_is_its_own()
    {
        Assert.All(DropReasons.All, wanted =>
        {
            ReasonSet set = ReasonSet.Of([wanted]);
            Assert.Equal([wanted], DropReasons.All.Where(r => ReasonSet.Contains(in set, r)));
        });
    }

    [Fact]
    public void A_drop_whose_packet_is_gone_is_seen_without_bytes()
    {
        // The tagged and the untagged form need two buffers; there is only the packet's own.
        using var lan = new TestSwitch(bridge: TestSwitch.VlanAware);
        lan.Access(1, 10).Access(2, 10).Trunk(3, [10]);
        using var hoard = Hoard.AllBut(lan.Engine.Small, 1);
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.Drops });
        lan.Send(1, Of(Broadcast, A));
        Seen drop = Assert.Single(watcher.Take());
        Assert.Equal((DropReason.EgressNoBuffer, 0u, 0), ((DropReason)drop.Record.Code, drop.Record.Original, drop.Bytes.Length));
        Assert.Equal(1ul, lan.Drops(drop.Port, DropReason.EgressNoBuffer));
        lan.Outputs();
    }

    [Fact]
    public void A_filter_decides_packet_by_packet()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        // "ether proto 0x0800", as tcpdump -ddd prints it.
        BpfInstruction[] ip = [new(0x28, 0, 0, 12), new(0x15, 0, 1, 0x0800), new(0x6, 0, 0, 262144), new(0x6, 0, 0, 0)];
        using var watcher = new Watcher(lan, new CaptureWish { Kinds = CaptureKinds.In, Filter = ip });
        lan.Send(1, Of(B, A), Of(B, A, 0x0800), Of(B, A, 0x0806), Of(B, A)[..12], Of(B, A, 0x0800, payload: 5));
        Assert.Equal([60, 19], watcher.Take().Select(s => s.Bytes.Length));
        lan.Outputs();
    }

    [Fact]
    public void A_large_packet_in_several_buffers_is_seen_whole_or_cut_as_asked()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        var desk = new CaptureDesk(lan.Segment);
        byte[] frame = Of(B, A, payload: 9000);
        using (var whole = new Watcher(desk, new CaptureWish { Kinds = CaptureKinds.In }))
        {
            lan.Inject(1, frame, firstBuffer: 100);
            lan.Poll();
            Assert.Equal(frame, Assert.Single(whole.Take()).Bytes);
        }
        using var cut = new Watcher(desk, new CaptureWish { Kinds = CaptureKinds.In, SnapLength = 150 });
        lan.Inject(1, frame, firstBuffer: 100);
        lan.Poll();
        Seen seen = Assert.Single(cut.Take());
        Assert.Equal(frame[..150], seen.Bytes);
        Assert.Equal((uint)frame.Length, seen.Record.Original);
    }

    [Fact]
    public void Sessions_do_not_disturb_each_other_and_a_ninth_is_refused()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        var desk = new CaptureDesk(lan.Segment);
        var watchers = new List<Watcher>();
        for (int i = 0; i < CaptureSession.Limit; i++)
        {
            watchers.Add(new Watcher(desk, new CaptureWish { Kinds = i % 2 == 0 ? CaptureKinds.In : CaptureKinds.Out, SnapLength = 14 + i }));
        }
        Assert.Throws<CaptureBusyException>(() => desk.Open(new CaptureWish()));
        lan.Send(1, Of(Broadcast, A));
        var kinds = new List<(CaptureRecordKind, uint)>();
        desk.Read((in CaptureRecord record, ReadOnlySpan<byte> _) => kinds.Add((record.Kind, record.Sessions)));
        Assert.Equal([(CaptureRecordKind.In, 0b01010101u), (CaptureRecordKind.Out, 0b10101010u)], kinds);

        watchers[3].Dispose();
        using var next = new Watcher(desk, new CaptureWish());
        Assert.Equal(3, next.Session);
        lan.Outputs();
    }

    [Fact]
    public void What_nobody_reads_is_lost_and_counted_and_forwarding_goes_on()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        lan.Send(2, Of(A, B));
        lan.Outputs();
        var desk = new CaptureDesk(lan.Segment);
        using var watcher = new Watcher(desk, new CaptureWish());
        int sent = 0;
        for (; desk.Lost(watcher.Session) < 100; sent++)
        {
            lan.Send(1, Of(B, A, payload: 1400));
            Assert.Equal(1, lan.Drain(2));
        }
        int kept = watcher.Take().Count;
        Assert.Equal(2 * sent, kept + (int)desk.Lost(watcher.Session));
        Assert.InRange(kept, CaptureRing.DataSize / 1500 * 9 / 10, CaptureRing.DataSize / 1414);

        lan.Send(1, Of(B, A));
        Assert.Equal(2, watcher.Take().Count);
        lan.Outputs();
    }

    [Fact]
    public void Nothing_is_written_when_nobody_looks()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        var desk = new CaptureDesk(lan.Segment);
        new Watcher(desk, new CaptureWish { Kinds = CaptureKinds.In | CaptureKinds.Out | CaptureKinds.Drops | CaptureKinds.Trace }).Dispose();
        lan.Send(1, Of(Broadcast, A), Of(B, Broadcast));
        Assert.Equal(0, desk.Read((in CaptureRecord _, ReadOnlySpan<byte> _) => { }));
        lan.Outputs();
    }

    [Fact]
    public void A_session_that_takes_the_place_of_another_while_the_worker_sleeps_is_noticed()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        var desk = new CaptureDesk(lan.Segment);
        var first = new Watcher(desk, new CaptureWish { Kinds = CaptureKinds.Trace });
        lan.Send(1, Of(Broadcast, A));
        Assert.NotEmpty(first.Take());
        first.Dispose();
        using var second = new Watcher(desk, new CaptureWish { Kinds = CaptureKinds.In });
        Assert.Equal(first.Session, second.Session);
        lan.Send(1, Of(Broadcast, A));
        Assert.Equal(CaptureRecordKind.In, Assert.Single(second.Take()).Kind);
        lan.Outputs();
    }

    [Fact]
    public void A_desk_that_died_leaves_no_session_behind()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        new CaptureDesk(lan.Segment).Open(new CaptureWish());
        lan.Send(1, Of(Broadcast, A));
        var successor = new CaptureDesk(lan.Segment);
        Assert.Equal(0u, successor.Active);
        lan.Send(1, Of(Broadcast, A));
        Assert.Equal(0, successor.Read((in CaptureRecord _, ReadOnlySpan<byte> _) => { }));
        lan.Outputs();
    }

    [Fact]
    public void Capturing_and_tracing_allocate_nothing()
    {
        using TestSwitch lan = new TestSwitch().Port(1).Port(2);
        lan.Send(2, Of(A, B));
        lan.Outputs();
        var desk = new CaptureDesk(lan.Segment);
        desk.Open(new CaptureWish { Kinds = CaptureKinds.In | CaptureKinds.Out | CaptureKinds.Drops | CaptureKinds.Trace });
        byte[] known = Of(B, A), wrong = Of(B, Broadcast);
        ulong records = 0;
        CaptureDesk.Reader count = (in CaptureRecord _, ReadOnlySpan<byte> _) => records++;
        long allocated = 0;
        for (int round = 0; round < 2000; round++)
        {
            lan.Inject(1, known);
            lan.Inject(1, wrong);
            long before = GC.GetAllocatedBytesForCurrentThread();
            lan.Engine.Workers[0].PollOnce();
            if (round >= 200)
            {
                allocated += GC.GetAllocatedBytesForCurrentThread() - before;
            }
            desk.Read(count);
            Assert.Equal(1, lan.Drain(2));
        }
        Assert.Equal(0, allocated);
        // In twice, out, drop; four steps of the known packet, two of the other.
        Assert.Equal(2000ul * 10, records);
        lan.Rest();
    }
}
