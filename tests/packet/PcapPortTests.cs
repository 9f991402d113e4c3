using Dataplane.Packets;
using Dataplane.PacketTests.Harness;
using Dataplane.Ports;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>Captures replayed through the bridge into captures: what comes out is what went in, frame by frame, byte for byte.</summary>
public sealed class PcapPortTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Frames of every length from the shortest to an ordinary MTU's longest, no two alike.</summary>
    private static byte[][] Frames(string destination, string source, int count)
    {
        var random = new Random(count);
        return [.. Enumerable.Range(0, count).Select(i =>
        {
            byte[] payload = new byte[i % 1501];
            random.NextBytes(payload);
            return Raw(destination, source, Experimental, payload);
        })];
    }

    private string Write(string name, IEnumerable<byte[]> frames)
    {
        Pcap.Write(_directory[name], frames);
        return _directory[name];
    }

    [Theory]
    [InlineData(1, B)]
    [InlineData(1, Broadcast)]
    [InlineData(3, B)]
    [InlineData(3, Broadcast)]
    public void AFileIsForwardedIntoAnother(int workers, string destination)
    {
        byte[][] frames = Frames(destination, A, 3002);
        using (TestSwitch sw = new(workers))
        {
            sw.Device(2, $"pcap:tx={_directory["out.pcap"]}").Device(1, $"pcap:rx={Write("in.pcap", frames)}");
            sw.Poll();
            Assert.Equal("", sw.Drops());
            Assert.Equal((3002ul, 3002ul), (sw.Counters(1).RxPackets, sw.Counters(1).Forwarded));
            Assert.Equal((3002ul, (ulong)frames.Sum(f => f.Length)), (sw.Counters(2).TxPackets, sw.Counters(2).TxBytes));
            Assert.Equal(1, sw.PortOf(A));
        }
        Assert.Equal(frames, Pcap.Read(_directory["out.pcap"]));
    }

    [Fact]
    public void FilesInBothDirections()
    {
        byte[][] there = Frames(B, A, 500), back = Frames(A, B, 700);
        using (TestSwitch sw = new())
        {
            // Both addresses are known from the start: the files replay as soon as a worker looks.
            sw.SetStatic(A, 1);
            sw.SetStatic(B, 2);
            EnginePort first = DpdkPorts.Make(sw, 1, $"pcap:rx={Write("a.pcap", there)},tx={_directory["a.out"]}");
            sw.Attach(first).Device(2, $"pcap:tx={_directory["b.out"]},rx={Write("b.pcap", back)}");
            sw.Poll();
            Assert.Equal("", sw.Drops());
        }
        Assert.Equal(there, Pcap.Read(_directory["b.out"]));
        Assert.Equal(back, Pcap.Read(_directory["a.out"]));
    }

    [Fact]
    public void FramesOfEveryKindGoWhereTheyShould()
    {
        byte[][] frames =
        [
            Of(B, A),                       // to port 3 alone
            Of(Broadcast, A),               // to both
            Tagged(B, A, 7),                // a bridge that does not look at VLANs: payload
            Of("01:80:c2:00:00:00", A),     // never forwarded
            Of(B, "01:00:00:00:00:01"),     // a source that cannot be
            [1, 2, 3, 4, 5, 6, 7, 8, 9],    // no header
            Of(B, A, payload: 1505),        // too long by one
            Of(C, A),                       // unknown: to both
            Of(A, C),                       // back to where it came from
        ];
        using (TestSwitch sw = new())
        {
            sw.SetStatic(B, 3);
            sw.Device(2, $"pcap:tx={_directory["2.pcap"]}").Port(3).Device(1, $"pcap:rx={Write("in.pcap", frames)}");
            sw.Poll();
            Assert.Equal([frames[0], frames[1], frames[2], frames[7]], sw.Take(3));
            Assert.Equal(
                $"1 {DropReason.Truncated} 1, 1 {DropReason.SourceMulticast} 1, 1 {DropReason.LinkLocal} 1, 1 {DropReason.SamePort} 1, 3 {DropReason.EgressMtu} 1",
                sw.Drops());
        }
        Assert.Equal([frames[1], frames[7]], Pcap.Read(_directory["2.pcap"]));
    }

    [Theory]
    [InlineData(2034)]
    [InlineData(2035)] // does not fit the first buffer any more
    [InlineData(4100)]
    [InlineData(9000)]
    public void AFrameOfSeveralBuffersIsOneInTheFile(int payload)
    {
        byte[][] frames = [Of(B, A, payload: payload), Of(B, A), Of(Broadcast, A, payload: payload)];
        using (TestSwitch sw = new())
        {
            sw.SetStatic(B, 2);
            sw.Attach(DpdkPorts.Make(sw, 2, $"pcap:tx={_directory["out.pcap"]}"), change: r => r with { Mtu = 9000 });
            sw.Attach(DpdkPorts.Make(sw, 1, $"pcap:rx={Write("in.pcap", frames)}"), change: r => r with { Mtu = 9000 });
            sw.Poll();
            Assert.Equal("", sw.Drops());
        }
        Assert.Equal(frames, Pcap.Read(_directory["out.pcap"]));
    }

    [Fact]
    public void AnEmptyFileIsAPortWithoutPackets()
    {
        using TestSwitch sw = new TestSwitch().Port(2);
        sw.Device(1, $"pcap:rx={Write("in.pcap", [])}");
        sw.Send(2, Of(B, A));
        Assert.Equal((0ul, 1ul), (sw.Counters(1).RxPackets, sw.Counters(1).TxPackets));
    }

    [Fact]
    public void AFileInALoopGoesOnUntilItIsDetached()
    {
        using TestSwitch sw = new(clock: new MonotonicClock());
        byte[][] frames = Frames(B, A, 10);
        sw.SetStatic(B, 2);
        sw.Port(2).Device(1, $"pcap:rx={Write("in.pcap", frames)},loop").Start();
        var seen = new List<byte[]>();
        sw.Until(() =>
        {
            seen.AddRange(sw.Take(2));
            return seen.Count >= 1000;
        }, "a hundred rounds");
        sw.Detach(1);
        ulong received = sw.Counters(1).RxPackets;
        Assert.Equal(Enumerable.Range(0, 1000).Select(i => frames[i % 10]), seen.Take(1000));
        Thread.Sleep(5); // no packet comes of a port that is gone
        Assert.Equal(received, sw.Counters(1).RxPackets);
    }

    [Fact]
    public void TheFileIsCompleteWhenThePortIsDetached()
    {
        using TestSwitch sw = new TestSwitch(clock: new MonotonicClock()).Port(1).Port(3).Start();
        new Traffic(sw, (1, 3, false)).During(() =>
        {
            for (int round = 0; round < 20; round++)
            {
                string file = _directory[$"{round}.pcap"];
                ulong before = sw.Counters(2).TxPackets;
                sw.Device(2, $"pcap:tx={file}");
                sw.Until(() => Flood(sw) && sw.Counters(2).TxPackets > before + 5, "flooded packets");
                sw.Detach(2);
                List<byte[]> written = Pcap.Read(file);
                Assert.Equal(sw.Counters(2).TxPackets - before, (ulong)written.Count);
                Assert.All(written, frame => Assert.Equal(Of(Broadcast, D), frame));
            }
        });

        static unsafe bool Flood(TestSwitch sw)
        {
            Interop.Dpdk.rte_mbuf* mbuf = MbufCopy.FromBytes(Of(Broadcast, D), sw.Engine.Small, sw.Engine.Large);
            return mbuf == null || sw.TryInject(3, mbuf) || true;
        }
    }
}
