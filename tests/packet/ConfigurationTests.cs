using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>A commit is seen by a burst as a whole or not at all, however many records it changes and however fast commits follow.</summary>
public sealed unsafe class ConfigurationTests
{
    /// <summary>What the two states that the switch is flipped between consist of.</summary>
    public enum Of
    {
        /// <summary>Two ports and their bridge.</summary>
        Records,

        /// <summary>The same ports, and a static address that is at the one or the other.</summary>
        RecordsAndAddress,

        /// <summary>The same with an address that is at the first port, or not known and flooded to the second.</summary>
        RecordsAndAddressThatComesAndGoes,
    }

    /// <summary>Between any two steps of the writer: nothing of a commit shows before its last step, and then all of it.</summary>
    [Theory]
    [InlineData(Of.Records)]
    [InlineData(Of.RecordsAndAddress)]
    [InlineData(Of.RecordsAndAddressThatComesAndGoes)]
    public void NothingShowsBeforeTheCommit(Of what)
    {
        const int Commits = 100_000;
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3);
        Write(sw, what, first: true);
        rte_mbuf* template = MbufCopy.FromBytes(FrameFor(what), sw.Engine.Small, sw.Engine.Large);
        sw.Poll();
        sw.Segment.Quiescence.Online(0);
        for (int i = 0; i < Commits; i++)
        {
            bool second = i % 2 == 0;
            Write(sw, what, first: !second, step: () => Expect(second ? 2 : 3));
            Expect(second ? 3 : 2);
        }
        sw.Rest();
        Shim.dps_mbuf_free(template);
        Assert.Equal("", sw.Drops());

        void Expect(int port)
        {
            Assert.True(sw.TryInject(1, MbufCopy.Deep(template, sw.Engine.Small, sw.Engine.Large)));
            sw.Engine.Workers[0].PollOnce();
            Assert.Equal(1, sw.Drain(port));
            Assert.Equal(0, sw.Drain(5 - port));
        }
    }

    /// <summary>
    /// And with the writer on a thread of its own, which flips the switch 20,000 times at full speed while a worker forwards: at
    /// whatever instant of a burst, all packets of it meet the same state. On a machine that gives the two threads no two CPUs each
    /// flip costs time slices; there, as many as four seconds allow.
    /// </summary>
    [Theory]
    [InlineData(Of.Records)]
    [InlineData(Of.RecordsAndAddress)]
    [InlineData(Of.RecordsAndAddressThatComesAndGoes)]
    public void ABurstSeesAllOfACommitOrNothing(Of what)
    {
        const int Commits = 20_000, AtLeast = 500;
        long end = Environment.TickCount64 + 4_000;
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3);
        Write(sw, what, first: true);
        Worker worker = sw.Engine.Workers[0];
        rte_mbuf* template = MbufCopy.FromBytes(FrameFor(what), sw.Engine.Small, sw.Engine.Large);
        sw.Poll();
        sw.Segment.Quiescence.Online(0);

        Exception? failure = null;
        int commits = 0;
        bool done = false, stop = false;
        var writer = new Thread(() =>
        {
            try
            {
                for (; commits < Commits && !Volatile.Read(ref stop) && (commits < AtLeast || Environment.TickCount64 < end); commits++)
                {
                    Write(sw, what, first: commits % 2 != 0);
                }
            }
            catch (Exception e)
            {
                failure = e;
            }
            Volatile.Write(ref done, true);
        });
        writer.Start();
        long bursts = 0, toSecond = 0, changes = 0;
        int last = 0;
        try
        {
            while (!Volatile.Read(ref done))
            {
                const int Burst = 8;
                for (int i = 0; i < Burst; i++)
                {
                    Assert.True(sw.TryInject(1, MbufCopy.Deep(template, sw.Engine.Small, sw.Engine.Large)));
                }
                worker.PollOnce();
                int second = sw.Drain(2), third = sw.Drain(3);
                Assert.True((second, third) is (Burst, 0) or (0, Burst), $"burst {bursts}: {second} packets at port 2, {third} at port 3; {sw.Drops()}");
                bursts++;
                toSecond += second;
                changes += second != last ? 1 : 0;
                last = second;
            }
        }
        finally
        {
            Volatile.Write(ref stop, true);
            sw.Rest();
            writer.Join();
            Shim.dps_mbuf_free(template);
        }
        Assert.Null(failure);
        // Both states were seen, and often; each commit waits for the one before to be seen.
        Assert.True(changes > commits / 2, $"{changes} changes in {bursts} bursts by {commits} commits");
        Assert.InRange(toSecond, 1, (bursts * 8) - 1);
        Assert.Equal("", sw.Drops());
    }

    [Fact]
    public void AnAbandonedCommitIsNeverSeen()
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3);
        sw.Writer.Begin();
        sw.Writer.SetPort(2, default);
        sw.Writer.SetBridge(TestSwitch.Bridge, default);
        sw.Send(1, Frame.Of(B, A));
        Assert.Equal("2 3", sw.Outputs());
        sw.Writer.Abandon();
        sw.Send(1, Frame.Of(B, A));
        Assert.Equal("2 3", sw.Outputs());
    }

    [Fact]
    public void APortMovesToAnotherBridgeAndBack()
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3).Port(4);
        sw.Send(2, Frame.Of(Broadcast, B)).Outputs();
        sw.Writer.Begin();
        var other = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = 2, AgeingSeconds = 300 };
        PortSet.Add(ref other.Members, 2);
        PortSet.Add(ref other.Members, 3);
        sw.Writer.SetBridge(2, other);
        sw.Writer.SetPort(2, sw.Writer.Port(2) with { Bridge = 2 });
        sw.Writer.SetPort(3, sw.Writer.Port(3) with { Bridge = 2 });
        sw.Writer.Commit();
        sw.Send(1, Frame.Of(Broadcast, A));
        Assert.Equal("4", sw.Outputs());
        sw.Send(2, Frame.Of(A, B));
        Assert.Equal("3", sw.Outputs());
        // The old bridge still knows B behind the port that left; the control plane removes that.
        sw.Send(1, Frame.Of(B, A));
        Assert.Equal("1 OutputGone 1", sw.Drops());
        Assert.Equal(1, sw.Writer.RemoveMacs((in MacEntry entry, object? _) => entry is { Port: 2, Fid: 1 }));
        sw.Send(1, Frame.Of(B, A));
        Assert.Equal("4", sw.Outputs());
        Assert.Equal(1, sw.Learned(2));
    }

    private static byte[] FrameFor(Of what) => Frame.Of(what == Of.Records ? Broadcast : B, A);

    /// <summary>
    /// One of two states. In the first, packets go to port 2, in the second to port 3; any mixture drops them, or sends them to the
    /// other port or to both.
    /// </summary>
    private static void Write(TestSwitch sw, Of what, bool first, Action? step = null)
    {
        bool known = what == Of.RecordsAndAddress || (what == Of.RecordsAndAddressThatComesAndGoes && first);
        sw.Writer.Begin();
        step?.Invoke();
        if (what != Of.Records && first)
        {
            SetAddress();
        }
        SetPort(2, first);
        step?.Invoke();
        SetPort(3, !first);
        step?.Invoke();
        BridgeRecord bridge = sw.Writer.Bridge(TestSwitch.Bridge);
        PortSet members = default;
        PortSet.Add(ref members, 1);
        PortSet.Add(ref members, first ? 2 : 3);
        sw.Writer.SetBridge(TestSwitch.Bridge, bridge with { Members = members });
        step?.Invoke();
        // Addresses first, the next time records first: in neither order anything shows too early.
        if (what != Of.Records && !first)
        {
            SetAddress();
        }
        sw.Writer.Commit();

        void SetPort(int port, bool takes)
        {
            PortRecord record = sw.Writer.Port(port);
            const PortFlags Taking = PortFlags.Enabled | PortFlags.FloodBroadcast | PortFlags.FloodUnicast;
            sw.Writer.SetPort(port, record with { Flags = takes ? record.Flags | Taking : record.Flags & ~Taking });
        }

        void SetAddress()
        {
            ulong key = MacTable.Key(TestSwitch.Bridge, MacAddress.Parse(B).Value);
            if (known)
            {
                Assert.True(sw.Writer.SetStaticMac(key, (ushort)(first ? 2 : 3), MacFlags.Static));
            }
            else
            {
                sw.Writer.RemoveMac(key);
            }
            step?.Invoke();
        }
    }
}
