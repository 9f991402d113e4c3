using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>As a worker that is alone with the table.</summary>
public sealed class ConnectionTableAloneTests() : ConnectionTableTests(isAlone: true);

/// <summary>As one of several workers.</summary>
public sealed class ConnectionTableAmongOthersTests() : ConnectionTableTests(isAlone: false);

public abstract class ConnectionTableTests(bool isAlone)
{
    private const byte Syn = TcpHeader.Syn, SynAck = TcpHeader.Syn | TcpHeader.Ack, Ack = TcpHeader.Ack;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Both_directions_hold_the_whole_verdict(bool isIPv6)
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(0x0A00_0005, 40_001, isIPv6: isIPv6), 3);
        ConnectionHandle handle = test.Insert(made, now: 17);
        Assert.Equal(handle, test.Table.Find(made.Original));
        ConnectionHandle reply = test.Table.Find(made.Reply);
        Assert.False(reply.IsNone);
        Assert.NotEqual(handle, reply);
        Assert.True(test.Table.Find(made.Original.Reversed).IsNone);

        ConnectionEntry entry = test.Read(handle);
        Assert.Equal(made.Original, entry.Key);
        Assert.Equal(made.Reply.Source, entry.NewDestination);
        Assert.Equal(8080, entry.NewDestinationPort);
        Assert.Equal(made.Original.Source, entry.NewSource);
        Assert.Equal(40_001, entry.NewSourcePort);
        Assert.Equal(made.Reply, entry.OtherKey);
        Assert.Equal((7u, 3u, 17u), (entry.Frontend, entry.Backend, entry.LastSeen));
        Assert.Equal((0u, 0u), (entry.Route, entry.VerdictGeneration));
        Assert.Equal(ConnectionState.SynSent, entry.State);
        Assert.Equal(ConnectionFlags.HalfOpen | ConnectionFlags.RewritesDestination, entry.Flags);

        entry = test.Read(reply);
        Assert.Equal(made.Reply, entry.Key);
        Assert.Equal(made.Original.Destination, entry.NewSource);
        Assert.Equal(80, entry.NewSourcePort);
        Assert.Equal(made.Original, entry.OtherKey);
        Assert.Equal(ConnectionFlags.Reply | ConnectionFlags.RewritesSource, entry.Flags);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public unsafe void Deltas_are_what_a_full_computation_gives(bool isIPv6)
    {
        using var test = new TestConnections(isAlone: isAlone);
        var random = new Random(1);
        for (int i = 0; i < 32; i++)
        {
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow((uint)random.Next(), (ushort)random.Next(), isIPv6: isIPv6), (uint)random.Next(60_000));
            ConnectionEntry entry = test.Read(test.Insert(made));
            Check(entry, made.Original, made.Reply.Reversed);
            Check(test.Read(made.Reply), made.Reply, made.Original.Reversed);
        }

        static void Check(in ConnectionEntry entry, in ConnectionKey was, in ConnectionKey now)
        {
            Assert.Equal(Sum(was, true, false, entry.AddressDelta), Sum(now, true, false, 0));
            Assert.Equal(Sum(was, true, true, entry.TransportDelta), Sum(now, true, true, 0));
            Assert.NotEqual(0, entry.AddressDelta);
        }

        // As the header has them, and something else in it.
        static ushort Sum(in ConnectionKey key, bool addresses, bool ports, ulong add)
        {
            byte* data = stackalloc byte[40];
            new Span<byte>(data, 40).Clear();
            data[38] = 0x12;
            if (addresses)
            {
                Store(data, key.Source.High, key.Source.Low);
                Store(data + 16, key.Destination.High, key.Destination.Low);
            }
            if (ports)
            {
                System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(data + 32, 2), key.SourcePort);
                System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(data + 34, 2), key.DestinationPort);
            }
            return Checksum.Fold(Checksum.Add(add, data, 40));
        }

        static void Store(byte* data, ulong high, ulong low)
        {
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(new Span<byte>(data, 8), high);
            System.Buffers.Binary.BinaryPrimitives.WriteUInt64BigEndian(new Span<byte>(data + 8, 8), low);
        }
    }

    [Fact]
    public void A_key_has_one_entry()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle handle = test.Insert(made);
        Assert.Equal(InsertResult.Exists, test.Table.TryInsert(TestConnections.ToBackend(made.Original, 2), 1, out ConnectionHandle again));
        Assert.Equal(handle, again);
        Assert.True(test.Table.Find(TestConnections.ToBackend(made.Original, 2).Reply).IsNone);
        Assert.Equal(2, test.Table.Statistics().Slots4);
    }

    [Fact]
    public void Two_connections_do_not_share_their_replies()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        test.Insert(made);
        NewConnection other = TestConnections.ToBackend(TestConnections.Flow(2)) with { Reply = made.Reply };
        Assert.Equal(InsertResult.ReplyTaken, test.Table.TryInsert(other, 1, out ConnectionHandle handle));
        Assert.True(handle.IsNone);
        Assert.True(test.Table.Find(other.Original).IsNone);
        Assert.Equal(InsertResult.ReplyTaken, test.Table.TryInsert(other with { Reply = other.Original }, 1, out _));
    }

    [Fact]
    public void Keys_differ_in_every_part()
    {
        using var test = new TestConnections(isAlone: isAlone);
        ConnectionKey key = TestConnections.Flow(1);
        test.Insert(TestConnections.ToBackend(key));
        ConnectionKey[] others =
        [
            TestConnections.Flow(2), TestConnections.Flow(1, 40_001), TestConnections.Flow(1, protocol: Wire.ProtocolUdp), TestConnections.Flow(1, vrf: 2),
            key with { Destination = new IPv6Number(0, 5) }, ConnectionKey.Of4(1, Wire.ProtocolTcp, 1, 0x0A60_0001, 40_000, 81),
            ConnectionKey.OfAffinity(1, false, key.Source, (uint)key.Destination.Low), TestConnections.Flow(1, isIPv6: true),
        ];
        Assert.All(others, other => Assert.True(test.Table.Find(other).IsNone));
        Assert.False(test.Table.Find(key).IsNone);
    }

    [Fact]
    public void A_handshake_makes_both_entries_hot()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle handle = test.Insert(made), reply = test.Table.Find(made.Reply);
        Assert.Equal(1, test.Table.Statistics().HalfOpen);
        Assert.Equal(TouchResult.Known, test.Table.Touch(reply, SynAck, 2));
        Assert.Equal(ConnectionState.SynReceived, test.Read(handle).State);
        Assert.False(IsHot(test.Read(handle)) || IsHot(test.Read(reply)));
        Assert.Equal(TouchResult.Proven, test.Table.Touch(handle, Ack, 3));
        Assert.Equal(ConnectionState.Established, test.Read(handle).State);
        Assert.True(IsHot(test.Read(handle)) && IsHot(test.Read(reply)));
        Assert.Equal((0, 1), (test.Table.Statistics().HalfOpen, test.Table.Statistics().Connections));
        Assert.Equal((3u, 2u), (test.Read(handle).LastSeen, test.Read(reply).LastSeen));

        // The state of both directions is in the entry of the original one.
        Assert.True(test.Table.TryReadState(reply, out ConnectionState state, out ConnectionFlags flags));
        Assert.Equal(ConnectionState.Established, state);
        Assert.Equal(test.Read(handle).Flags, flags);
    }

    [Fact]
    public void Closing_connections_are_not_hot_until_nothing_is_to_come()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle handle = test.Establish(made), reply = test.Table.Find(made.Reply);
        (ConnectionHandle By, byte Flags, ConnectionState State, bool IsHot)[] steps =
        [
            (handle, TcpHeader.Fin | Ack, ConnectionState.FinWait, false),
            (reply, Ack, ConnectionState.CloseWait, true),
            (reply, TcpHeader.Fin | Ack, ConnectionState.LastAck, false),
            (handle, Ack, ConnectionState.TimeWait, true),
            (handle, TcpHeader.Rst, ConnectionState.Closed, true),
        ];
        foreach ((ConnectionHandle by, byte flags, ConnectionState state, bool isHot) in steps)
        {
            Assert.Equal(TouchResult.Known, test.Table.Touch(by, flags, 5));
            Assert.Equal(state, test.Read(handle).State);
            Assert.Equal((isHot, isHot), (IsHot(test.Read(handle)), IsHot(test.Read(reply))));
        }
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(true, true)]
    [InlineData(false, false)]
    public void A_closed_connection_is_opened_anew(bool isTimeWait, bool byServer)
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle handle = test.Establish(made), reply = test.Table.Find(made.Reply);
        if (isTimeWait)
        {
            test.Table.Touch(handle, TcpHeader.Fin | Ack, 2);
            test.Table.Touch(reply, TcpHeader.Fin | Ack, 2);
            test.Table.Touch(handle, Ack, 2);
        }
        else
        {
            test.Table.Touch(reply, TcpHeader.Rst, 2);
        }
        Assert.Equal(TouchResult.Restart, test.Table.Touch(byServer ? reply : handle, Syn, 3));
        Assert.True(test.Table.Find(made.Original).IsNone && test.Table.Find(made.Reply).IsNone);
        Assert.Equal((0L, 0L), (test.Table.Statistics().Connections, test.Table.Statistics().Slots4));
        Assert.Equal(TouchResult.Gone, test.Table.Touch(handle, Syn, 3));
        test.Establish(made);
    }

    /// <summary>The packets that would have brought it to TIME-WAIT may have got lost behind the one who opens it anew.</summary>
    [Theory, InlineData(1, ConnectionState.FinWait), InlineData(2, ConnectionState.CloseWait), InlineData(3, ConnectionState.LastAck)]
    public void A_client_may_open_anew_what_is_being_closed(int steps, ConnectionState state)
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle handle = test.Establish(made), reply = test.Table.Find(made.Reply);
        foreach ((ConnectionHandle by, byte flags) in new[] { (reply, (byte)(TcpHeader.Fin | Ack)), (handle, Ack), (handle, (byte)(TcpHeader.Fin | Ack)) }.Take(steps))
        {
            test.Table.Touch(by, flags, 2);
        }
        Assert.Equal(state, test.Read(handle).State);
        Assert.Equal(TouchResult.Known, test.Table.Touch(reply, Syn, 3));
        Assert.Equal(TouchResult.Restart, test.Table.Touch(handle, Syn, 3));
        Assert.True(test.Table.Find(made.Original).IsNone);
    }

    [Theory]
    [InlineData(Wire.ProtocolUdp)]
    [InlineData(Icmp.Protocol4)]
    [InlineData((byte)47)]
    public void Without_states_the_first_answer_is_what_counts(byte protocol)
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1, protocol: protocol), signal: 0);
        ConnectionHandle handle = test.Insert(made), reply = test.Table.Find(made.Reply);
        Assert.True(IsHot(test.Read(handle)), "what is never answered is forwarded at full speed too");
        Assert.False(IsHot(test.Read(reply)));
        Assert.Equal(TouchResult.Known, test.Table.Touch(handle, 0, 2));
        Assert.Equal(1, test.Table.Statistics().HalfOpen);
        Assert.Equal(TouchResult.Proven, test.Table.Touch(reply, 0, 2));
        Assert.True(IsHot(test.Read(reply)));
        Assert.Equal(TouchResult.Known, test.Table.Touch(reply, 0, 2));
        Assert.Equal(0, test.Table.Statistics().HalfOpen);
    }

    [Fact]
    public void Sctp_is_established_by_its_cookie()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1, protocol: Wire.ProtocolSctp), signal: SctpHeader.Init);
        ConnectionHandle handle = test.Insert(made), reply = test.Table.Find(made.Reply);
        (ConnectionHandle By, byte Chunk, ConnectionState State, bool IsHalfOpen)[] steps =
        [
            (handle, SctpHeader.Init, ConnectionState.Closed, true),
            (reply, SctpHeader.InitAck, ConnectionState.CookieWait, true),
            (handle, 10, ConnectionState.CookieEchoed, true),
            (reply, 11, ConnectionState.Established, false),
            (handle, 0, ConnectionState.Established, false),
            (reply, SctpHeader.Shutdown, ConnectionState.ShutdownReceived, false),
            (handle, SctpHeader.ShutdownAck, ConnectionState.ShutdownAckSent, false),
            (reply, SctpHeader.ShutdownComplete, ConnectionState.Closed, false),
        ];
        foreach ((ConnectionHandle by, byte chunk, ConnectionState state, bool isHalfOpen) in steps)
        {
            test.Table.Touch(by, chunk, 5);
            Assert.Equal(state, test.Read(handle).State);
            Assert.Equal(isHalfOpen, test.Read(handle).Flags.HasFlag(ConnectionFlags.HalfOpen));
        }
    }

    [Fact]
    public void A_route_is_of_one_direction_and_one_generation()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle handle = test.Establish(made);
        test.Table.Refresh(handle, 0xFF_FFFF, 42);
        Assert.Equal((0xFF_FFFFu, 42u), (test.Read(handle).Route, test.Read(handle).VerdictGeneration));
        Assert.Equal((0u, 0u), (test.Read(made.Reply).Route, test.Read(made.Reply).VerdictGeneration));
        test.Table.Refresh(handle, 0, 43);
        Assert.Equal((0u, 0u), (test.Read(handle).Route, test.Read(handle).VerdictGeneration));
        Assert.True(test.Table.Remove(handle, 1));
        test.Table.Refresh(handle, 5, 44);
        ConnectionHandle next = test.Insert(made);
        Assert.Equal((0u, 0u), (test.Read(next).Route, test.Read(next).VerdictGeneration));
        test.Table.Refresh(handle, 5, 44);
        Assert.Equal(0u, test.Read(next).Route);
    }

    [Fact]
    public void The_hot_look_up_takes_what_needs_nothing_else()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(0x0A00_0005, 1234), 3);
        var key = new ConnectionKey4 { Flow = made.Original.Flow, Addresses = 0x0A00_0005_0A60_0001 };
        ConnectionHandle handle = test.Insert(made);
        Assert.False(Hot(42, 2, out _)); // half-open
        test.Table.Touch(test.Table.Find(made.Reply), SynAck, 2);
        test.Table.Touch(handle, Ack, 2);
        Assert.False(Hot(42, 2, out _)); // no route
        test.Table.Refresh(handle, 5, 42);
        Assert.False(Hot(43, 2, out _)); // routes have changed since
        Assert.True(Hot(42, 9, out ConnectionVerdict4 verdict));
        Assert.Equal(9u, test.Read(handle).LastSeen);
        Assert.Equal(5u, verdict.Route);
        Assert.Equal((0x0A00_0005u, 0x0A01_0003u), (verdict.Rewrite.Source, verdict.Rewrite.Destination));
        Assert.Equal((1234, 8080), (verdict.Rewrite.SourcePort, verdict.Rewrite.DestinationPort));
        Assert.Equal(test.Read(handle).AddressDelta, verdict.Rewrite.AddressDelta);
        Assert.Equal(test.Read(handle).TransportDelta, verdict.Rewrite.TransportDelta);
        Assert.Equal((HotLook.Closer, 9u), (Beyond(43), test.Read(handle).LastSeen));
        key.Addresses++;
        Assert.False(Hot(42, 9, out _));
        Assert.Equal(HotLook.None, Beyond(42));

        unsafe HotLook Beyond(uint generation)
        {
            ConnectionVerdict4 found = default;
            return ConnectionTable.LookBeyond4(test.Table.Home4(in key), in key, generation, 9, ref found);
        }

        unsafe bool Hot(uint generation, uint now, out ConnectionVerdict4 found)
        {
            found = default;
            ConnectionSlot4* home = test.Table.Home4(in key);
            return ConnectionTable.TryHot4(home, in key, generation, now, ref found) || ConnectionTable.LookBeyond4(home, in key, generation, now, ref found) == HotLook.Hot;
        }
    }

    [Fact]
    public void The_hot_look_up_of_IPv6_takes_the_same()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(9, isIPv6: true), 3);
        ConnectionHandle handle = test.Establish(made);
        test.Table.Refresh(handle, 5, 42);
        var key = new ConnectionKey6 { Flow = made.Original.Flow, Source = made.Original.Source, Destination = made.Original.Destination };
        Assert.True(Hot(42, 9, out ConnectionVerdict6 verdict));
        Assert.Equal((9u, 5u), (test.Read(handle).LastSeen, verdict.Route));
        Assert.Equal((made.Reply.Destination, made.Reply.Source), (verdict.Rewrite.Source, verdict.Rewrite.Destination));
        Assert.Equal((40_000, 8080), (verdict.Rewrite.SourcePort, verdict.Rewrite.DestinationPort));
        Assert.Equal(test.Read(handle).AddressDelta, verdict.Rewrite.AddressDelta);
        Assert.False(Hot(43, 9, out _));
        Assert.Equal(HotLook.Closer, Beyond(43));
        key.Source.Low++;
        Assert.False(Hot(42, 9, out _));
        Assert.Equal(HotLook.None, Beyond(42));

        unsafe HotLook Beyond(uint generation)
        {
            ConnectionVerdict6 found = default;
            return ConnectionTable.LookBeyond6(test.Table.Home6(in key), in key, generation, 9, ref found);
        }

        unsafe bool Hot(uint generation, uint now, out ConnectionVerdict6 found)
        {
            found = default;
            ConnectionSlot6* home = test.Table.Home6(in key);
            return ConnectionTable.TryHot6(home, in key, generation, now, ref found) || ConnectionTable.LookBeyond6(home, in key, generation, now, ref found) == HotLook.Hot;
        }
    }

    [Fact]
    public void A_handle_is_of_one_life()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        ConnectionHandle first = test.Insert(made), reply = test.Table.Find(made.Reply);
        Assert.True(test.Table.Remove(reply, 1));
        ConnectionHandle second = test.Establish(made);
        Assert.NotEqual(first, second);
        Assert.False(test.Table.Remove(first, 1));
        Assert.False(test.Table.Remove(reply, 1));
        Assert.False(test.Table.TryRead(first, out _));
        Assert.False(test.Table.TryReadState(reply, out _, out _));
        Assert.Equal(TouchResult.Gone, test.Table.Touch(first, TcpHeader.Rst, 9));
        Assert.Equal(TouchResult.Gone, test.Table.Touch(reply, TcpHeader.Rst, 9));
        Assert.Equal(ConnectionState.Established, test.Read(second).State);
        Assert.False(test.Table.Remove(default, 1));
    }

    /// <summary>What the backend of a service sends is known after the connection is gone, until its place is another's.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void The_answers_of_a_service_are_known_a_while_longer(bool isIPv6)
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1, isIPv6: isIPv6));
        NewConnection masqueraded = TestConnections.ToBackend(TestConnections.Flow(2, isIPv6: isIPv6)) with { Frontend = 0 };
        Assert.False(test.Table.IsGone(made.Reply, out _));
        ConnectionHandle handle = test.Insert(made), other = test.Insert(masqueraded);
        Assert.False(test.Table.IsGone(made.Reply, out _)); // it is there
        test.Table.Remove(handle, 77);
        test.Table.Remove(other, 77);
        Assert.True(test.Table.IsGone(made.Reply, out uint since));
        Assert.Equal(77u, since);
        Assert.False(test.Table.IsGone(made.Original, out _));
        Assert.False(test.Table.IsGone(masqueraded.Reply, out _));
        Assert.True(test.Table.Find(made.Reply).IsNone);
        Assert.Null(test.Problem());

        test.Table.Forget(made.Reply);
        Assert.False(test.Table.IsGone(made.Reply, out _));
        test.Table.Remove(test.Insert(made), 78);
        Assert.True(test.Table.IsGone(made.Reply, out _));
        for (uint i = 0; i < 10_000 && test.Table.IsGone(made.Reply, out _); i++) // until its place is another's
        {
            test.Table.Remove(test.Insert(TestConnections.ToBackend(TestConnections.Flow(100 + i, isIPv6: isIPv6))), 79);
        }
        Assert.False(test.Table.IsGone(made.Reply, out _));
        Assert.Null(test.Problem());
    }

    [Fact]
    public void A_full_table_gives_up_half_open_connections_and_no_others()
    {
        using var test = new TestConnections(capacity: 64, isAlone: isAlone);
        var established = new List<ConnectionHandle>();
        for (uint i = 0; i < 32; i++)
        {
            established.Add(test.Establish(TestConnections.ToBackend(TestConnections.Flow(i))));
        }
        for (uint i = 0; i < 10_000; i++)
        {
            Assert.Equal(InsertResult.Inserted, test.Table.TryInsert(TestConnections.ToBackend(TestConnections.Flow(1000 + i)), 2 + i, out _));
        }
        ConnectionStatistics statistics = test.Table.Statistics();
        Assert.Equal((64L, 32L, 128L), (statistics.Connections, statistics.HalfOpen, statistics.Slots4));
        Assert.Equal((10_032ul, 10_000ul - 32, 0ul), (statistics.Inserted, statistics.Evicted, statistics.Refused));
        Assert.All(established, handle => test.Read(handle));
    }

    /// <summary>A closed connection is kept for as long as Linux keeps it, but not at the expense of a new one.</summary>
    [Theory, InlineData(false), InlineData(true)]
    public void A_full_table_gives_up_connections_that_are_over(bool isReset)
    {
        using var test = new TestConnections(capacity: 64, isAlone: isAlone);
        var established = new List<ConnectionHandle>();
        for (uint i = 0; i < 32; i++)
        {
            established.Add(test.Establish(TestConnections.ToBackend(TestConnections.Flow(i))));
        }
        for (uint i = 0; i < 10_000; i++)
        {
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1000 + i));
            ConnectionHandle handle = test.Establish(made), reply = test.Table.Find(made.Reply);
            (ConnectionHandle By, byte Flags)[] end = isReset ? [(reply, TcpHeader.Rst)] : [(handle, TcpHeader.Fin | Ack), (reply, TcpHeader.Fin | Ack), (handle, Ack)];
            foreach ((ConnectionHandle by, byte flags) in end)
            {
                test.Table.Touch(by, flags, 2 + i);
            }
            Assert.Equal(isReset ? ConnectionState.Closed : ConnectionState.TimeWait, test.Read(handle).State);
        }
        ConnectionStatistics statistics = test.Table.Statistics();
        Assert.Equal((64L, 0L, 32L), (statistics.Connections, statistics.HalfOpen, statistics.Over));
        Assert.Equal((10_000ul - 32, 0ul), (statistics.Evicted, statistics.Refused));
        Assert.All(established, handle => Assert.Equal(ConnectionState.Established, test.Read(handle).State));
        Assert.Null(test.Problem());
    }

    [Fact]
    public void What_is_over_goes_before_what_begins()
    {
        using var test = new TestConnections(capacity: 64, isAlone: isAlone);
        for (uint i = 0; i < 32; i++)
        {
            Assert.Equal(InsertResult.Inserted, test.Table.TryInsert(TestConnections.ToBackend(TestConnections.Flow(i)), 2, out _));
        }
        for (uint i = 32; i < 64; i++)
        {
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow(i));
            test.Establish(made);
            test.Table.Touch(test.Table.Find(made.Reply), TcpHeader.Rst, 100);
        }
        Assert.Equal(InsertResult.Inserted, test.Table.TryInsert(TestConnections.ToBackend(TestConnections.Flow(1000)), 100, out _));
        ConnectionStatistics statistics = test.Table.Statistics();
        Assert.Equal((64L, 33L, 31L), (statistics.Connections, statistics.HalfOpen, statistics.Over));
        Assert.Null(test.Problem());
    }

    [Fact]
    public void A_table_full_of_established_connections_refuses()
    {
        using var test = new TestConnections(capacity: 64, isAlone: isAlone);
        var established = new List<ConnectionHandle>();
        for (uint i = 0; i < 64; i++)
        {
            established.Add(test.Establish(TestConnections.ToBackend(TestConnections.Flow(i))));
        }
        Assert.Equal(InsertResult.Full, test.Table.TryInsert(TestConnections.ToBackend(TestConnections.Flow(1000)), 9, out ConnectionHandle none));
        Assert.True(none.IsNone);
        Assert.Equal((1ul, 128L), (test.Table.Statistics().Refused, test.Table.Statistics().Slots4));
        Assert.All(established, handle => test.Read(handle));
        Assert.True(test.Table.Remove(established[5], 1));
        test.Establish(TestConnections.ToBackend(TestConnections.Flow(1000)));
    }

    [Fact]
    public void The_two_families_fill_by_themselves()
    {
        using var test = new TestConnections(capacity: 64, isAlone: isAlone);
        for (uint i = 0; i < 64; i++)
        {
            test.Establish(TestConnections.ToBackend(TestConnections.Flow(i)));
        }
        for (uint i = 0; i < 64; i++)
        {
            test.Establish(TestConnections.ToBackend(TestConnections.Flow(i, isIPv6: true)));
        }
        Assert.Equal(InsertResult.Full, test.Table.TryInsert(TestConnections.ToBackend(TestConnections.Flow(1000, isIPv6: true)), 9, out _));
        Assert.Equal((128L, 128L, 128L), (test.Table.Statistics().Connections, test.Table.Statistics().Slots4, test.Table.Statistics().Slots6));
    }

    [Fact]
    public void Nothing_allocates()
    {
        using var test = new TestConnections(isAlone: isAlone);
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1));
        Round(test, made);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Round(test, made);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        static void Round(TestConnections test, in NewConnection made)
        {
            test.Table.TryInsert(in made, 1, out ConnectionHandle handle);
            test.Table.Touch(test.Table.Find(made.Reply), SynAck, 1);
            test.Table.Touch(handle, Ack, 1);
            test.Table.Refresh(handle, 3, 1);
            test.Table.TryRead(handle, out _);
            test.Table.Remove(handle, 1);
            ConnectionKey client = ConnectionKey.OfAffinity(1, false, made.Original.Source, 7);
            test.Table.PutAffinity(client, 7, 3, 1);
            test.Table.FindAffinity(client, 100, 2);
            var fragment = new PacketFlow { Source = made.Original.Source, Protocol = Wire.ProtocolUdp, Identification = 5 };
            test.Table.PutFragment(in fragment, 1, 1);
            test.Table.TryFindFragment(ref fragment, 1, 1);
        }
    }

    private static bool IsHot(in ConnectionEntry entry) => (entry.Flags & ConnectionFlags.Hot) != 0;
}
