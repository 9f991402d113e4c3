using System.Diagnostics;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.UnitTests.Interop.Linux;
using Dataplane.Workers;

namespace Dataplane.UnitTests.Tables;

/// <summary>
/// A process whose threads make, change and remove connections as fast as they can, while housekeeping goes round, is killed (SIGKILL) at
/// random instants: what the next one finds is a table that it can use, with every connection in it that nobody was changing, and every mark.
/// </summary>
public sealed class ConnectionKillTests : IDisposable
{
    private const int Kills = 30, Established = 200;

    private readonly string _directory = Directory.CreateTempSubdirectory("dpunit-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Theory]
    [InlineData(1)] // alone with the table, but for housekeeping
    [InlineData(2)]
    public async Task A_killed_engine_leaves_a_usable_table(int workers)
    {
        string path = Path.Combine(_directory, "segment");
        var random = new Random(1);
        int unfinished = 0;
        using (Segment segment = Segment.Create(path, new SegmentOptions { ConnectionCapacity = 1024, MaxWorkers = workers }))
        {
            ConnectionTable table = segment.ConnectionsOf(0);
            for (uint i = 0; i < Established; i++)
            {
                NewConnection made = Kept(i);
                Assert.Equal(InsertResult.Inserted, table.TryInsert(in made, 1, out ConnectionHandle handle));
                table.Touch(table.Find(made.Reply), TcpHeader.Syn | TcpHeader.Ack, 1);
                table.Touch(handle, TcpHeader.Ack, 1);
            }
        }
        for (int kill = 0; kill < Kills; kill++)
        {
            using Process writer = Start(path);
            Assert.Equal("busy", await writer.StandardOutput.ReadLineAsync());
            await Task.Delay(TimeSpan.FromMilliseconds(random.NextDouble() * 20));
            writer.Kill();
            await writer.WaitForExitAsync();

            using Segment segment = Segment.Open(path);
            ConnectionTable table = segment.ConnectionsOf(segment.MaxWorkers);
            unfinished += table.Scrub();
            Assert.Null(ConnectionAudit.Problem(segment));
            // Housekeeping goes on where the last one was.
            for (int i = 0; i < workers; i++)
            {
                segment.Quiescence.Offline(i);
            }
            var ageing = new ConnectionAgeing(segment);
            for (int turn = 0; turn < 6; turn++)
            {
                ageing.RunOnce(2, 1);
            }
            Assert.Null(ConnectionAudit.Problem(segment));
            for (uint i = 0; i < Established; i++)
            {
                Assert.True(table.TryRead(table.Find(Kept(i).Original), out ConnectionEntry entry) && entry.State == ConnectionState.Established, $"kill {kill}: {i} is gone");
                Assert.True(table.TryRead(table.Find(Kept(i).Reply), out entry) && entry.OtherKey == Kept(i).Original);
            }
        }
        Assert.True(unfinished > 0, "no kill met a change in its midst");
    }

    private static Process Start(string path)
    {
        // The test host is run by dotnet, or it is a program of its own that dotnet started.
        string host = Path.GetFileName(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        return Shell.Start([host, "exec", typeof(ConnectionWriter).Assembly.Location, ConnectionWriter.Command, path]);
    }

    private static NewConnection Kept(uint i) => TestConnections.ToBackend(TestConnections.Flow(i, isIPv6: i % 2 == 1), 1 + (i % 7));
}

/// <summary>The process that is killed.</summary>
internal static class ConnectionWriter
{
    public const string Command = "connection-writer";
    public static int Run(string path)
    {
        using Segment segment = Segment.Open(path);
        int started = 0, threads = segment.MaxWorkers;
        for (int i = 0; i < threads; i++)
        {
            int worker = i;
            new Thread(() => Work(segment, worker, new Random(), ref started)) { IsBackground = true }.Start();
        }
        new Thread(() => Keep(new ConnectionAgeing(segment) { AwaitsWorker = threads == 1 })) { IsBackground = true }.Start();
        SpinWait.SpinUntil(() => Volatile.Read(ref started) == threads);
        Console.WriteLine("busy");
        Console.Out.Flush();
        Thread.Sleep(Timeout.Infinite);
        return 0;
    }

    private static void Keep(ConnectionAgeing ageing)
    {
        while (true)
        {
            ageing.RunOnce(2, 1);
        }
    }

    private static void Work(Segment segment, int worker, Random random, ref int started)
    {
        ConnectionTable table = segment.ConnectionsOf(worker);
        segment.Quiescence.Online(worker);
        for (int step = 0; ; step++)
        {
            segment.Quiescence.Quiescent(worker);
            table.IsAlone = segment.MaxWorkers == 1 && !table.IsClaimed;
            NewConnection made = TestConnections.ToBackend(TestConnections.Flow(1000 + (uint)random.Next(700), isIPv6: random.Next(2) == 0));
            if (random.Next(3) != 0)
            {
                table.TryInsert(in made, 2, out _);
            }
            else
            {
                table.Touch(table.Find(made.Reply), TcpHeader.Syn | TcpHeader.Ack, 2);
                table.Remove(table.Find(made.Original), 1);
            }
            if (step == 1000)
            {
                Interlocked.Increment(ref started);
            }
        }
    }
}
