using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// Several workers and housekeeping at one table, on real threads, with few keys so that they meet. What an entry says can be told from its
/// key, so that a mixture of two is seen at once.
/// </summary>
public sealed class ConnectionTableConcurrencyTests
{
    private const int Workers = 4, Clients = 40;
    private static readonly TimeSpan s_hangs = TimeSpan.FromSeconds(120);

    private volatile string? _problem;

    [Theory]
    [InlineData(64)] // room for all
    [InlineData(16)] // full most of the time
    public void No_two_entries_have_one_key_and_directions_stay_together(int capacity)
    {
        using var test = new TestConnections(capacity, Workers + 1);
        int inserted = 0, busy = Workers;
        var workers = new Thread[Workers + 1];
        for (int i = 0; i < Workers; i++)
        {
            int worker = i;
            workers[i] = new Thread(() => Guard(() => Interlocked.Add(ref inserted, Work(test.Of(worker), new Random(worker))), () => Interlocked.Decrement(ref busy)));
        }
        workers[Workers] = new Thread(() => Guard(() => Age(test, ref busy), () => { }));
        foreach (Thread thread in workers)
        {
            thread.IsBackground = true;
            thread.Start();
        }
        foreach (Thread thread in workers)
        {
            Assert.True(thread.Join(s_hangs), "a thread hangs");
        }
        Assert.Null(_problem);
        Assert.Null(test.Problem());
        Assert.True(inserted > 1000, $"only {inserted} connections were made");
        Assert.Equal((ulong)inserted, test.Table.Statistics().Inserted);
    }

    [Fact]
    public void Of_those_who_make_the_same_connection_at_once_one_does()
    {
        using var test = new TestConnections(64, Workers);
        for (int round = 0; round < 3000; round++)
        {
            NewConnection made = Made((uint)(round % Clients), (uint)round % 3);
            int made1 = 0;
            using var line = new Barrier(2);
            var other = new Thread(() =>
            {
                line.SignalAndWait();
                Interlocked.Add(ref made1, test.Of(1).TryInsert(in made, 1, out _) == InsertResult.Inserted ? 1 : 0);
            });
            other.Start();
            line.SignalAndWait();
            Interlocked.Add(ref made1, test.Table.TryInsert(in made, 1, out _) == InsertResult.Inserted ? 1 : 0);
            other.Join();
            // Both may lose in the same instant; then the next packet makes it.
            Assert.InRange(made1, 0, 1);
            Assert.Equal(made1 == 0, test.Table.Find(made.Original).IsNone);
            Assert.Equal(made1 == 0, test.Table.Find(made.Reply).IsNone);
            test.Table.Remove(test.Table.Find(made.Original), 1);
            Assert.Equal(0, test.Table.Statistics().Slots4);
        }
    }

    /// <summary>Clients are behind one address and share its ports: three have the same reply.</summary>
    private static NewConnection Made(uint client, uint choice)
    {
        ConnectionKey flow = TestConnections.Flow(client, protocol: (client & 1) == 0 ? Wire.ProtocolTcp : Wire.ProtocolUdp);
        var port = (ushort)(1000 + (client / 6) + (choice * 100));
        return new NewConnection
        {
            Original = flow,
            Reply = ConnectionKey.Of4(1, flow.Protocol, 0x0A01_0000 + Backend(client, port), 0xC0A8_0001, 8080, port),
            Backend = Backend(client, port),
            Frontend = client,
            Signal = (client & 1) == 0 ? TcpHeader.Syn : (byte)0,
        };
    }

    private static uint Backend(uint client, ushort port) => 1 + ((client / 6 * 7) + port) % 5;

    private int Work(ConnectionTable table, Random random)
    {
        int inserted = 0;
        for (int step = 0; step < 60_000 && _problem == null; step++)
        {
            var client = (uint)random.Next(Clients);
            NewConnection made = Made(client, (uint)random.Next(3));
            uint now = 1 + ((uint)step / 1000);
            switch (random.Next(10))
            {
                case < 4:
                    inserted += table.TryInsert(in made, now, out _) == InsertResult.Inserted ? 1 : 0;
                    break;
                case < 7:
                    int signal = (client & 1) != 0 ? 0 : random.Next(4) switch
                    {
                        0 => TcpHeader.Fin | TcpHeader.Ack,
                        1 => TcpHeader.Syn | TcpHeader.Ack,
                        _ => TcpHeader.Ack,
                    };
                    table.Touch(table.Find(random.Next(2) == 0 ? made.Original : made.Reply), (byte)signal, now);
                    break;
                case 7:
                    table.Remove(table.Find(random.Next(2) == 0 ? made.Original : made.Reply), 1);
                    break;
                case 8:
                    table.Refresh(table.Find(made.Original), 1 + client, 1);
                    break;
                default:
                    Check(table, made.Original, client);
                    CheckHot(table, made.Original, client, now);
                    break;
            }
        }
        return inserted;
    }

    private void Check(ConnectionTable table, in ConnectionKey key, uint client)
    {
        if (!table.TryRead(table.Find(in key), out ConnectionEntry entry))
        {
            return;
        }
        if (entry.Key != key || entry.Frontend != client || entry.NewSource.Low != 0xC0A8_0001 || entry.NewDestinationPort != 8080
            || entry.Backend != Backend(client, entry.NewSourcePort) || entry.NewDestination.Low != 0x0A01_0000 + entry.Backend || entry.Route is not 0 && entry.Route != 1 + client)
        {
            _problem ??= $"{key}: {entry.Key}, frontend {entry.Frontend}, {entry.NewSource.Low:x}:{entry.NewSourcePort}, backend {entry.Backend}, route {entry.Route}";
        }
    }

    private unsafe void CheckHot(ConnectionTable table, in ConnectionKey key, uint client, uint now)
    {
        var hot = new ConnectionKey4 { Flow = key.Flow, Addresses = (key.Source.Low << 32) | (uint)key.Destination.Low };
        ConnectionSlot4* home = table.Home4(in hot);
        ConnectionVerdict4 verdict = default;
        if ((ConnectionTable.TryHot4(home, in hot, 1, now, ref verdict) || ConnectionTable.LookBeyond4(home, in hot, 1, now, ref verdict) == HotLook.Hot)
            && (verdict.Rewrite.Destination != 0x0A01_0000 + Backend(client, verdict.Rewrite.SourcePort) || verdict.Route != 1 + client))
        {
            _problem ??= $"{key}: {verdict.Rewrite.Destination:x} for port {verdict.Rewrite.SourcePort}, route {verdict.Route}";
        }
    }

    private static void Age(TestConnections test, ref int busy)
    {
        ConnectionTable table = test.Of(Workers);
        for (uint turn = 0; Volatile.Read(ref busy) != 0; turn++)
        {
            // Some are half a minute idle, and go.
            var pass = new ConnectionPass { Now = 1 + (turn % 100), ReachTurn = turn % ConnectionTable.ReachTurns };
            table.Age(false, 0, table.SlotCount(false), in pass);
        }
    }

    private void Guard(Action action, Action last)
    {
        try
        {
            action();
        }
        catch (Exception e)
        {
            _problem ??= e.ToString();
        }
        finally
        {
            last();
        }
    }
}
