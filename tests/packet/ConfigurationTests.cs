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
    /// <summary>Between any two steps of the writer: nothing of a commit shows before its last step, and then all of it.</summary>
    [Fact]
    public void NothingShowsBeforeTheCommit()
    {
        const int Commits = 100_000;
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3);
        Write(sw, first: true);
        rte_mbuf* template = MbufCopy.FromBytes(Of(Broadcast, A), sw.Engine.Small, sw.Engine.Large);
        sw.Poll();
        sw.Segment.Quiescence.Online(0);
        for (int i = 0; i < Commits; i++)
        {
            bool second = i % 2 == 0;
            Write(sw, first: !second, step: () => Expect(second ? 2 : 3));
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

    /// <summary>And with the writer on a thread of its own, at full speed, at any instant of a burst.</summary>
    [Fact]
    public void ABurstSeesAllOfACommitOrNothing() => Flip(Of(Broadcast, A), (sw, first) => Write(sw, first));

    /// <summary>
    /// The same across tables: with each commit a static address moves between two ports, of which only the one that it is at is
    /// enabled; and every other time it is not known at all, and flooded to the one port that takes that. A mixture drops packets,
    /// or sends them to the other port.
    /// </summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void ABurstSeesAddressesAndPortsOfOneCommit(bool comesAndGoes)
    {
        ulong key = MacTable.Key(TestSwitch.Bridge, MacAddress.Parse(B).Value);
        Flip(Of(B, A), (sw, first) =>
        {
            sw.Writer.Begin();
            bool known = !comesAndGoes || first;
            // Addresses first, the other way round the next time: in neither order anything shows too early.
            if (first)
            {
                SetMac(sw);
            }
            SetPort(sw, 2, first, known);
            SetPort(sw, 3, !first, known);
            if (!first)
            {
                SetMac(sw);
            }
            sw.Writer.Commit();

            void SetMac(TestSwitch sw) =>
                Assert.True(known ? sw.Writer.SetStaticMac(key, (ushort)(first ? 2 : 3), MacFlags.Static) : sw.Writer.RemoveMac(key));
        });

        static void SetPort(TestSwitch sw, int port, bool takes, bool known)
        {
            PortFlags flags = takes ? PortFlags.Enabled | (known ? 0 : PortFlags.FloodUnicast) : 0;
            PortRecord record = sw.Writer.Port(port);
            sw.Writer.SetPort(port, record with { Flags = (record.Flags & ~(PortFlags.Enabled | PortFlags.FloodUnicast)) | flags });
        }
    }

    /// <summary>
    /// A writer flips the switch 100,000 times between two states while a worker forwards. In the one, packets go to port 2, in
    /// the other to port 3; those of one burst all go to the same.
    /// </summary>
    private static void Flip(byte[] frame, Action<TestSwitch, bool> write)
    {
        const int Commits = 100_000;
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3);
        write(sw, true);
        Worker worker = sw.Engine.Workers[0];
        rte_mbuf* template = MbufCopy.FromBytes(frame, sw.Engine.Small, sw.Engine.Large);
        sw.Poll();
        sw.Segment.Quiescence.Online(0);

        Exception? failure = null;
        bool done = false, stop = false;
        var writer = new Thread(() =>
        {
            try
            {
                for (int i = 0; i < Commits && !Volatile.Read(ref stop); i++)
                {
                    write(sw, i % 2 != 0);
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
        Assert.True(changes > Commits / 2, $"{changes} changes in {bursts} bursts");
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
        sw.Send(1, Of(B, A));
        Assert.Equal("2 3", sw.Outputs());
        sw.Writer.Abandon();
        sw.Send(1, Of(B, A));
        Assert.Equal("2 3", sw.Outputs());
    }

    [Fact]
    public void APortMovesToAnotherBridgeAndBack()
    {
        using TestSwitch sw = new TestSwitch().Port(1).Port(2).Port(3).Port(4);
        sw.Send(2, Of(Broadcast, B)).Outputs();
        sw.Writer.Begin();
        var other = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = 2, AgeingSeconds = 300 };
        PortSet.Add(ref other.Members, 2);
        PortSet.Add(ref other.Members, 3);
        sw.Writer.SetBridge(2, other);
        sw.Writer.SetPort(2, sw.Writer.Port(2) with { Bridge = 2 });
        sw.Writer.SetPort(3, sw.Writer.Port(3) with { Bridge = 2 });
        sw.Writer.Commit();
        sw.Send(1, Of(Broadcast, A));
        Assert.Equal("4", sw.Outputs());
        sw.Send(2, Of(A, B));
        Assert.Equal("3", sw.Outputs());
        // The old bridge still knows B behind the port that left; the control plane removes that.
        sw.Send(1, Of(B, A));
        Assert.Equal("1 OutputGone 1", sw.Drops());
        Assert.Equal(1, sw.Writer.RemoveMacs((in MacEntry entry, object? _) => entry is { Port: 2, Fid: 1 }));
        sw.Send(1, Of(B, A));
        Assert.Equal("4", sw.Outputs());
        Assert.Equal(1, sw.Learned(2));
    }

    /// <summary>
    /// One of two states of three records. In each, exactly one port takes what is flooded; in any mixture none or both.
    /// </summary>
    private static void Write(TestSwitch sw, bool first, Action? step = null)
    {
        sw.Writer.Begin();
        step?.Invoke();
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
        sw.Writer.Commit();

        void SetPort(int port, bool takes)
        {
            PortRecord record = sw.Writer.Port(port);
            const PortFlags Taking = PortFlags.Enabled | PortFlags.FloodBroadcast;
            sw.Writer.SetPort(port, record with { Flags = takes ? record.Flags | Taking : record.Flags & ~Taking });
        }
    }
}
