using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>Several workers with packets for the same neighbours: one asks, all learn.</summary>
public sealed unsafe class NeighbourWorkersTests
{
    private const int Out = 4;
    private const string Peer4 = "10.0.4.2", Peer6 = "fd00:4::2";

    private static RouteLab Lab(int workers, EngineClock? clock = null)
    {
        var lab = new RouteLab(workers, clock: clock);
        for (int port = 1; port <= Out; port++)
        {
            lab.Routed(port, $"10.0.{port}.1/24", $"fd00:{port}::1/64");
        }
        return lab;
    }

    private static Ip Packet(int port, bool v6) => Ip.OfUdp(v6 ? $"fd00:{port}::2" : $"10.0.{port}.2", v6 ? Peer6 : Peer4, port, 2000);

    private static byte[] Answer(bool v6) => v6
        ? Nd.Tell(PeerMac(Out), Peer6, "fd00:4::1").In(MacOf(Out), PeerMac(Out))
        : Arp.Reply(PeerMac(Out), Peer4, MacOf(Out), "10.0.4.1").In(MacOf(Out));

    private static NeighbourState State(RouteLab lab) => lab.Switch.Segment.Neighbours.List().Single(e => e.Key.Port == Out).State;

    /// <summary>What a port was sent: questions, and packets by the port they came from.</summary>
    private static (int Questions, int[] Packets) Sent(RouteLab lab)
    {
        List<byte[]> frames = lab.Take(Out);
        int[] packets = [.. frames.Where(f => f[12] != 8 || f[13] != 6).Select(Ip.Of).Where(ip => ip.Protocol == Ip.Udp).Select(ip => (int)ip.Word(0)).Order()];
        return (frames.Count - packets.Length, packets);
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(3, false)]
    [InlineData(3, true)]
    [InlineData(4, true)]
    public void One_asks_and_the_packets_of_all_go(int workers, bool v6)
    {
        using RouteLab lab = Lab(workers);
        for (int port = 1; port < Out; port++)
        {
            lab.Switch.Inject(port, ToRouter(port, Packet(port, v6)));
        }
        lab.Switch.Poll();
        Assert.Equal((1, 0), (Sent(lab) is var sent ? sent.Questions : 0, sent.Packets.Length));
        Assert.Equal(3, Enumerable.Range(1, 3).Sum(port => (int)lab.Switch.Counters(port).Held));
        lab.Switch.CheckAccounting();
        lab.Switch.Send(Out, Answer(v6));
        Assert.Equal([1, 2, 3], Sent(lab).Packets);
        Assert.Equal(0, Enumerable.Range(1, 3).Sum(port => (int)lab.Switch.Counters(port).Held));
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(4, true)]
    public void When_nobody_answers_the_packets_of_all_end(int workers, bool v6)
    {
        using RouteLab lab = Lab(workers);
        for (int port = 1; port < Out; port++)
        {
            lab.Neighbour(port, v6 ? $"fd00:{port}::2" : $"10.0.{port}.2");
            lab.Switch.Inject(port, ToRouter(port, Packet(port, v6)));
        }
        lab.Switch.Poll();
        int questions = Sent(lab).Questions;
        foreach (int seconds in (int[])[1, 2, 4])
        {
            lab.Switch.Clock.Advance(TimeSpan.FromSeconds(seconds));
            lab.Switch.Poll();
            questions += Sent(lab).Questions;
        }
        Assert.Equal(3, questions);
        Assert.Equal("1 NeighbourUnresolved 1, 2 NeighbourUnresolved 1, 3 NeighbourUnresolved 1", lab.Switch.Drops());
        Assert.All(Enumerable.Range(1, 3), port => Assert.Single(lab.Take(port)));
    }

    [Theory]
    [InlineData(2, false)]
    [InlineData(4, true)]
    public void One_probes(int workers, bool v6)
    {
        using RouteLab lab = Lab(workers);
        void SendAll()
        {
            for (int port = 1; port < Out; port++)
            {
                lab.Switch.Inject(port, ToRouter(port, Packet(port, v6)));
            }
            lab.Switch.Poll();
        }
        SendAll();
        lab.Switch.Send(Out, Answer(v6));
        Sent(lab);
        lab.Switch.Age(TimeSpan.FromSeconds(46));
        Assert.Equal(NeighbourState.Stale, State(lab));
        SendAll();
        Assert.Equal((0, 3), (Sent(lab) is var sent ? sent.Questions : 0, sent.Packets.Length));
        lab.Switch.Clock.Advance(TimeSpan.FromSeconds(5));
        SendAll();
        sent = Sent(lab);
        Assert.Equal((1, 3), (sent.Questions, sent.Packets.Length));
        lab.Switch.Send(Out, Answer(v6));
        Assert.Equal(NeighbourState.Reachable, State(lab));
        Assert.Empty(lab.Switch.Drops());
    }

    /// <summary>On threads that sleep when nothing comes: the answer comes to one worker, the packet waits with the other.</summary>
    [Fact]
    public void On_threads_packets_go_when_the_answer_comes()
    {
        using RouteLab lab = Lab(2, new MonotonicClock());
        lab.Switch.Start();
        for (int round = 0; round < 20; round++)
        {
            bool v6 = round % 2 != 0;
            for (int port = 1; port < Out; port++)
            {
                lab.Switch.Inject(port, ToRouter(port, Packet(port, v6)));
            }
            int questions = 0, packets = 0;
            void Count()
            {
                (int q, int[] p) = Sent(lab);
                (questions, packets) = (questions + q, packets + p.Length);
            }
            lab.Switch.Until(() => Took(() => questions > 0), "the question");
            lab.Switch.Inject(Out, Answer(v6));
            lab.Switch.Until(() => Took(() => packets == 3), "the packets");
            foreach (NeighbourEntry entry in lab.Switch.Segment.Neighbours.List())
            {
                lab.Switch.Writer.RemoveNeighbour(entry.Key);
            }
            lab.Switch.Writer.Synchronize();

            bool Took(Func<bool> enough)
            {
                Count();
                return enough();
            }
        }
        lab.Switch.Stop();
        Assert.Empty(lab.Switch.Drops());
    }
}
