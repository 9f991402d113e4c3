using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

public sealed unsafe class ConnectionAgeingTests
{
    private const byte Tcp = Wire.ProtocolTcp, Udp = Wire.ProtocolUdp, Sctp = Wire.ProtocolSctp;
    private const ConnectionFlags HalfOpen = ConnectionFlags.HalfOpen;

    [Theory]
    [InlineData(Tcp, ConnectionState.SynSent, HalfOpen, 120, 7)]
    [InlineData(Tcp, ConnectionState.SynSent2, HalfOpen, 120, 7)]
    [InlineData(Tcp, ConnectionState.SynReceived, HalfOpen, 60, 7)]
    [InlineData(Tcp, ConnectionState.Established, ConnectionFlags.None, 432_000, 5)]
    [InlineData(Tcp, ConnectionState.Established, HalfOpen, 120, 7)] // its beginning was not seen, and no answer
    [InlineData(Tcp, ConnectionState.FinWait, ConnectionFlags.None, 120, 9)]
    [InlineData(Tcp, ConnectionState.CloseWait, ConnectionFlags.None, 60, 9)]
    [InlineData(Tcp, ConnectionState.LastAck, ConnectionFlags.None, 30, 9)]
    [InlineData(Tcp, ConnectionState.TimeWait, ConnectionFlags.None, 120, 9)]
    [InlineData(Tcp, ConnectionState.Closed, ConnectionFlags.None, 10, 10)]
    [InlineData(Udp, ConnectionState.None, HalfOpen, 30, 11)]
    [InlineData(Udp, ConnectionState.None, ConnectionFlags.None, 120, 13)]
    [InlineData(Icmp.Protocol4, ConnectionState.None, ConnectionFlags.None, 30, 30)]
    [InlineData(Icmp.Protocol6, ConnectionState.None, HalfOpen, 30, 30)]
    [InlineData(Sctp, ConnectionState.Closed, HalfOpen, 10, 10)]
    [InlineData(Sctp, ConnectionState.CookieWait, HalfOpen, 3, 3)]
    [InlineData(Sctp, ConnectionState.CookieEchoed, HalfOpen, 3, 3)]
    [InlineData(Sctp, ConnectionState.Established, ConnectionFlags.None, 210, 5)]
    [InlineData(Sctp, ConnectionState.ShutdownSent, ConnectionFlags.None, 3, 3)]
    [InlineData(Sctp, ConnectionState.ShutdownReceived, ConnectionFlags.None, 3, 3)]
    [InlineData(Sctp, ConnectionState.ShutdownAckSent, ConnectionFlags.None, 3, 3)]
    [InlineData(Sctp, ConnectionState.HeartbeatSent, HalfOpen, 30, 30)]
    [InlineData((byte)47, ConnectionState.None, ConnectionFlags.None, 600, 600)]
    public void Times_are_those_of_Linux_or_of_the_service(byte protocol, ConnectionState state, ConnectionFlags flags, uint seconds, uint own)
    {
        Assert.Equal(seconds, ConnectionTimes.Of(protocol, state, flags, default));
        var frontend = new FrontendRecord { EstablishedSeconds = 5, HalfOpenSeconds = 7, ClosingSeconds = 9, UdpSeconds = 11, UdpAnsweredSeconds = 13 };
        Assert.Equal(own, ConnectionTimes.Of(protocol, state, flags, in frontend));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void An_entry_goes_when_neither_direction_was_seen(bool isIPv6)
    {
        using var test = new TestConnections();
        NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1, protocol: Udp, isIPv6: isIPv6), signal: 0);
        ConnectionHandle handle = test.Insert(made, now: 1000);
        test.Pass(1029);
        test.Read(handle);
        test.Table.Touch(test.Table.Find(made.Reply), 0, 1029); // answered: 120 seconds from here
        test.Pass(1029 + 119);
        test.Read(handle);
        test.Table.Touch(handle, 0, 1100);
        test.Pass(1100 + 119);
        test.Read(handle);
        test.Pass(1100 + 120);
        Assert.False(test.Table.TryRead(handle, out _));
        Assert.True(test.Table.Find(made.Reply).IsNone);
        Assert.Equal((1ul, 0L), (test.Table.Statistics().Expired, test.Table.Statistics().Connections));
        Assert.Null(test.Problem());
    }

    [Fact]
    public void A_time_before_the_last_packet_is_no_age()
    {
        using var test = new TestConnections();
        ConnectionHandle handle = test.Insert(TestConnections.ToBackend(TestConnections.Flow(1)), now: 1000);
        test.Pass(990);
        test.Read(handle);
    }

    [Fact]
    public void A_frontend_says_how_long()
    {
        using var test = new TestConnections();
        using SharedMemory memory = SharedMemory.CreatePrivate(64 * 1024);
        var frontends = (Versioned<FrontendRecord>*)memory.Pointer;
        FrontendKey key = FrontendKey.Of4(1, Tcp, 0x0A60_0001, 80);
        Versioned<FrontendRecord>.Write(ref frontends[7], new FrontendRecord { Key = key, Flags = FrontendFlags.Exists, EstablishedSeconds = 20, AffinitySeconds = 40 }, 1);
        ConnectionHandle handle = test.Establish(TestConnections.ToBackend(TestConnections.Flow(1)), now: 1000);
        // One that began at another frontend, which had the number before.
        ConnectionHandle older = test.Establish(TestConnections.ToBackend(TestConnections.Flow(1) with { Destination = new IPv6Number(0, 0x0A60_0002) }, 2), now: 1000);
        ConnectionKey client = ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 1), 7);
        Assert.True(test.Table.PutAffinity(client, 7, 3, 1000));
        test.Pass(1019, frontends, 8);
        test.Read(handle);
        test.Pass(1020, frontends, 8);
        Assert.False(test.Table.TryRead(handle, out _));
        test.Pass(1039, frontends, 8);
        Assert.False(test.Table.Find(client).IsNone);
        test.Pass(1040, frontends, 8);
        Assert.True(test.Table.Find(client).IsNone);
        test.Read(older);
        Assert.Null(test.Problem());
    }

    [Theory]
    [InlineData(BackendRemoval.Drain)]
    [InlineData(BackendRemoval.Reset)]
    public void A_removed_backend_takes_its_stateless_connections_with_it(BackendRemoval removal)
    {
        using var test = new TestConnections();
        byte[] section = GC.AllocateUninitializedArray<byte>((int)ConnectionSweep.SizeInBytes(100), pinned: true);
        Array.Clear(section);
        fixed (byte* memory = section)
        {
            var sweep = new ConnectionSweep(memory, 100);
            NewConnection tcp = TestConnections.ToBackend(TestConnections.Flow(1), 65);
            ConnectionHandle kept = test.Establish(tcp), other = test.Establish(TestConnections.ToBackend(TestConnections.Flow(2), 64));
            ConnectionHandle udp = test.Insert(TestConnections.ToBackend(TestConnections.Flow(3, protocol: Udp), 65, 0));
            ConnectionHandle otherUdp = test.Insert(TestConnections.ToBackend(TestConnections.Flow(4, protocol: Udp), 66, 0));
            ConnectionKey client = ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 1), 7);
            test.Table.PutAffinity(client, 7, 65, 1);

            sweep.Add(65, removal);
            ulong request = sweep.Request();
            Assert.False(sweep.IsDone(request));
            test.Pass(1, sweep: sweep);
            Assert.False(test.Table.TryRead(udp, out _));
            Assert.True(test.Table.Find(client).IsNone);
            test.Read(other);
            test.Read(otherUdp);
            bool isReset = removal == BackendRemoval.Reset;
            Assert.Equal(isReset, test.Read(kept).Flags.HasFlag(ConnectionFlags.Reset));
            Assert.Equal(!isReset, test.Read(kept).Flags.HasFlag(ConnectionFlags.Hot));
            Assert.Equal(!isReset, test.Read(tcp.Reply).Flags.HasFlag(ConnectionFlags.Hot));
            // Packets do not make it hot again.
            test.Table.Touch(kept, TcpHeader.Ack, 2);
            test.Table.Touch(test.Table.Find(tcp.Reply), TcpHeader.Ack, 2);
            Assert.Equal(!isReset, test.Read(tcp.Reply).Flags.HasFlag(ConnectionFlags.Hot));
            Assert.Equal(!isReset, test.Read(kept).Flags.HasFlag(ConnectionFlags.Hot));
            Assert.Equal(2ul, test.Table.Statistics().Swept);
            sweep.Clear(65);
            ConnectionHandle again = test.Insert(TestConnections.ToBackend(TestConnections.Flow(3, protocol: Udp), 65, 0));
            test.Pass(1, sweep: sweep);
            test.Read(again);
            Assert.Null(test.Problem());
        }
    }

    [Fact]
    public void A_mapping_lives_as_long_as_its_connections()
    {
        using var test = new TestConnections();
        ConnectionKey flow = TestConnections.Flow(5);
        ConnectionHandle mapping = test.Insert(NewConnection.OfEndpoint(1, Tcp, false, flow.Source, flow.SourcePort, new IPv6Number(0, 0xC000_0201), 2000), now: 1000);
        Assert.Equal((new IPv6Number(0, 0xC000_0201), (ushort)2000), (test.Read(mapping).NewSource, test.Read(mapping).NewSourcePort));
        // Another inner endpoint cannot have the same outer one.
        Assert.Equal(InsertResult.ReplyTaken, test.Table.TryInsert(
            NewConnection.OfEndpoint(1, Tcp, false, flow.Source, 1, new IPv6Number(0, 0xC000_0201), 2000), 1000, out _));
        ConnectionHandle connection = test.Establish(TestConnections.ToBackend(flow) with { Flags = ConnectionFlags.EndpointMapped }, now: 1000);
        Assert.Equal(1, test.Table.Statistics().Connections);
        test.Pass(9000);
        test.Read(mapping);
        test.Table.Remove(connection, 9000);
        test.Pass(9299);
        test.Read(mapping);
        test.Pass(9300);
        Assert.False(test.Table.TryRead(mapping, out _));
        Assert.Null(test.Problem());
        Assert.Equal(0, test.Table.Statistics().Slots4);
    }

    [Fact]
    public void Reach_shrinks_with_the_last_entry_of_a_home()
    {
        using var test = new TestConnections(capacity: 256);
        var handles = new List<ConnectionHandle>();
        for (uint i = 0; i < 256; i++)
        {
            // Of no service, so that nothing of it is remembered.
            handles.Add(test.Insert(TestConnections.ToBackend(TestConnections.Flow(i)) with { Frontend = 0 }, now: 1));
        }
        int full = test.TotalReach();
        Assert.True(full > 50, $"at half load entries are displaced; {full}");
        for (int i = 0; i < handles.Count; i += 2)
        {
            test.Table.Remove(handles[i], 1);
        }
        int half = test.TotalReach();
        Assert.InRange(half, 1, full - 1);
        Assert.Null(test.Problem()); // finds them all
        handles.ForEach(handle => test.Table.Remove(handle, 1));
        Assert.Equal(0, test.TotalReach());
    }

    /// <summary>Else each home would reach as far as it ever had to, and every search with it.</summary>
    [Fact]
    public void Connections_that_come_and_go_leave_no_reach_behind()
    {
        using var test = new TestConnections(capacity: 1024);
        for (uint i = 0; i < 1024; i++)
        {
            test.Insert(TestConnections.ToBackend(TestConnections.Flow(i)), now: 1);
        }
        for (uint i = 1024; i < 500_000; i++)
        {
            Assert.Equal(InsertResult.Inserted, test.Table.TryInsert(TestConnections.ToBackend(TestConnections.Flow(i)), 1, out _));
        }
        // One slot farther than the home, on average: there are as many entries as before, and as many that are gone and remembered.
        Assert.InRange(test.TotalReach(), 1, 2 * (int)(test.Table.SlotCount(false) - ConnectionTable.Window));
        Assert.Null(test.Problem());
    }

    /// <summary>As a worker that dies between two steps may leave it.</summary>
    [Fact]
    public void Housekeeping_lowers_a_reach_that_nothing_needs()
    {
        using var test = new TestConnections(capacity: 256);
        ConnectionHandle there = test.Insert(TestConnections.ToBackend(TestConnections.Flow(1)), now: 1);
        test.SetReach(7);
        Assert.Equal(7 * 1024, test.TotalReach());
        for (uint turn = 0; turn < ConnectionTable.ReachTurns; turn++)
        {
            test.Pass(1, reachTurn: turn);
        }
        Assert.Equal(0, test.TotalReach());
        test.Read(there);
        Assert.Null(test.Problem());
    }

    [Fact]
    public void A_client_keeps_its_backend_until_it_stays_away()
    {
        using var test = new TestConnections();
        ConnectionKey client = ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 1), 7);
        Assert.Equal(0u, test.Table.FindAffinity(client, 100, 1));
        Assert.True(test.Table.PutAffinity(client, 7, 3, 1));
        Assert.Equal(3u, test.Table.FindAffinity(client, 100, 100));
        Assert.Equal(3u, test.Table.FindAffinity(client, 100, 199));
        Assert.Equal(0u, test.Table.FindAffinity(client, 100, 299));
        Assert.True(test.Table.PutAffinity(client, 7, 4, 299));
        Assert.Equal(4u, test.Table.FindAffinity(client, 100, 300));
        Assert.Equal(0u, test.Table.FindAffinity(ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 1), 8), 100, 300));
        Assert.Equal((1L, 0L), (test.Table.Statistics().Slots4, test.Table.Statistics().Connections));
        Assert.Null(test.Problem());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Later_fragments_find_the_ports_of_the_first(bool isIPv6)
    {
        using var test = new TestConnections();
        var first = new PacketFlow
        {
            Source = new IPv6Number(0, 1), Destination = new IPv6Number(0, 2), Protocol = Udp, IsIPv6 = isIPv6, Identification = isIPv6 ? 0xFEDC_BA98 : 0xBA98,
            SourcePort = 5353, DestinationPort = 53, IsFirstFragment = true,
        };
        PacketFlow later = first with { SourcePort = 0, DestinationPort = 0, Kind = FlowKind.LaterFragment };
        Assert.False(test.Table.TryFindFragment(ref later, 1, 10));
        Assert.True(test.Table.PutFragment(first, 1, 10));
        Assert.True(test.Table.TryFindFragment(ref later, 1, 39));
        Assert.Equal((5353, 53), (later.SourcePort, later.DestinationPort));
        Assert.False(test.Table.TryFindFragment(ref later, 2, 39));
        Assert.False(test.Table.TryFindFragment(ref later, 1, 40));
        // The number comes round.
        Assert.True(test.Table.PutFragment(first with { SourcePort = 99 }, 1, 35));
        Assert.True(test.Table.TryFindFragment(ref later, 1, 40));
        Assert.Equal(99, later.SourcePort);
        test.Pass(65);
        Assert.Equal(0, test.Table.Statistics().Slots4 + test.Table.Statistics().Slots6);
        Assert.Null(test.Problem());
    }
}
