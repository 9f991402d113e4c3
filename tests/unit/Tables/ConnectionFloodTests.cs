using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>SYNs from addresses that are not the sender's, with a table full of them.</summary>
public sealed class ConnectionFloodTests
{
    private const int Capacity = 4096, Established = Capacity * 3 / 4, Flood = 10_000_000;

    [Theory, InlineData(true), InlineData(false)]
    public void A_flood_competes_with_itself(bool isAlone)
    {
        using var test = new TestConnections(Capacity, seed: 7, isAlone: isAlone);
        var random = new Random(1);
        var established = new List<NewConnection>();
        for (uint i = 0; i < Established; i++)
        {
            established.Add(TestConnections.ToBackend(TestConnections.Flow(i), 1 + (i % 50)));
            test.Establish(established[^1]);
        }

        // A client in between, whose handshake takes as long as so many SYNs.
        const int RoundTrip = 100;
        int opened = 0, attempts = 0, taken = 0;
        NewConnection client = default;
        for (uint i = 0; i < Flood; i++)
        {
            // An address and port that nobody else has; the backend answers half of them.
            ConnectionKey flow = TestConnections.Flow(0x8000_0000 + i, (ushort)random.Next(65536));
            NewConnection made = TestConnections.ToBackend(flow, 1 + (i % 50));
            taken += test.Table.TryInsert(in made, 10 + (i / 100_000), out _) == InsertResult.Inserted ? 1 : 0;
            if ((i & 1) == 0)
            {
                test.Table.Touch(test.Table.Find(made.Reply), TcpHeader.Syn | TcpHeader.Ack, 10 + (i / 100_000));
            }
            switch (i % 10_000)
            {
                case 0:
                    client = TestConnections.ToBackend(TestConnections.Flow(0x4000_0000 + i));
                    Assert.Equal(InsertResult.Inserted, test.Table.TryInsert(in client, 10 + (i / 100_000), out _));
                    attempts++;
                    break;
                case RoundTrip:
                    test.Table.Touch(test.Table.Find(client.Reply), TcpHeader.Syn | TcpHeader.Ack, 10 + (i / 100_000));
                    opened += test.Table.Touch(test.Table.Find(client.Original), TcpHeader.Ack, 10 + (i / 100_000)) == TouchResult.Proven ? 1 : 0;
                    test.Table.Remove(test.Table.Find(client.Original), 1);
                    break;
            }
        }

        Assert.Equal(Flood, taken);
        Assert.All(established, made => Assert.Equal(ConnectionState.Established, test.Read(made.Original).State));
        Assert.All(established, made => test.Read(made.Reply));
        ConnectionStatistics statistics = test.Table.Statistics();
        Assert.Equal(0ul, statistics.Refused);
        Assert.InRange(statistics.Connections, Established + 1, Capacity);
        Assert.True(statistics.Evicted > Flood - Capacity - (2 * (ulong)attempts));
        Assert.True(opened > attempts * 3 / 4, $"{opened} of {attempts} handshakes came to an end");
        Assert.Null(test.Problem());
    }

    [Theory, InlineData(true), InlineData(false)]
    public void Clients_that_come_once_do_not_crowd_out_connections(bool isAlone)
    {
        using var test = new TestConnections(Capacity, seed: 7, isAlone: isAlone);
        var established = new List<NewConnection>();
        for (uint i = 0; i < Established; i++)
        {
            established.Add(TestConnections.ToBackend(TestConnections.Flow(i)));
            test.Establish(established[^1]);
        }
        ConnectionKey loyal = ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 1), 7);
        test.Table.PutAffinity(loyal, 7, 3, 1);
        Assert.Equal(3u, test.Table.FindAffinity(loyal, 1000, 2));
        for (uint i = 0; i < 200_000; i++)
        {
            test.Table.PutAffinity(ConnectionKey.OfAffinity(1, false, new IPv6Number(0, 0x8000_0000 + i), 7), 7, 3, 3);
            var later = new PacketFlow { Source = new(0, 0x9000_0000 + i), Destination = new(0, 5), Protocol = Wire.ProtocolUdp, Identification = i & 0xFFFF, IsFirstFragment = true };
            test.Table.PutFragment(later, 1, 3);
        }
        Assert.Equal(3u, test.Table.FindAffinity(loyal, 1000, 4));
        Assert.All(established, made => test.Read(made.Reply));
        Assert.InRange(test.Table.Statistics().Slots4, 2 * Established, 2 * Capacity);
        Assert.Null(test.Problem());
    }
}
