using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.PacketTests.Harness;
using Dataplane.Ports;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Ports over memif, shared memory between two users of DPDK that find each other by a socket. Here both ends are in one
/// process: a port of the switch and a device of the test, or two ports of the switch.
/// </summary>
public sealed class MemifPortTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    private string Devargs(string role, string socket = "memif.sock") =>
        $"{DpdkPorts.Unique("net_memif")},role={role},socket-abstract=no,socket={_directory[socket]}";

    private static void WaitForLink(TestSwitch sw, EthDevice peer) => sw.Until(() => peer.Link.up != 0, "the link");

    [Theory]
    [InlineData("server", "client", 1)]
    [InlineData("client", "server", 1)]
    [InlineData("server", "client", 2)]
    public void FramesCrossInBothDirections(string role, string peerRole, int workers)
    {
        using TestSwitch sw = new TestSwitch(workers).Port(1);
        // The server first: it makes the socket.
        EthDevice? peer = role == "client" ? DpdkPorts.Peer(sw, Devargs(peerRole)) : null;
        sw.Device(2, $"dpdk:{Devargs(role)}");
        peer ??= DpdkPorts.Peer(sw, Devargs(peerRole));
        using (peer)
        {
            // The two ends do not find each other at the same instant. And so A is known at port 1.
            sw.Until(() => sw.Send(1, Of(Broadcast, A)) != null && peer.Take().Count != 0, "a broadcast");
            PortCounters before = sw.Counters(2);
            byte[][] there = [.. Enumerable.Range(0, 1400).Select(i => Of(A, B, payload: i))];
            byte[][] back = [.. there.Select(frame => (byte[])[.. frame[6..12], .. frame[..6], .. frame[12..]])];
            for (int i = 0; i < there.Length; i++)
            {
                sw.Until(() => peer.Send(sw, there[i]), "room");
                sw.Poll();
                Assert.Equal([there[i]], sw.Take(1));
                sw.Send(1, back[i]);
                Assert.Equal([back[i]], peer.Take());
            }
            Assert.Equal(2, sw.PortOf(B));
            PortCounters counters = sw.Counters(2);
            Assert.Equal((1400ul, 1400ul), (counters.RxPackets, counters.TxPackets - before.TxPackets));
            Assert.Equal((ulong)there.Sum(f => f.Length), counters.RxBytes);
            Assert.Equal(counters.RxBytes, counters.TxBytes - before.TxBytes);
            Assert.Equal((0ul, before.EgressDrops), (counters.IngressDrops, counters.EgressDrops));
        }
    }

    [Fact]
    public void TwoPortsOfOneSwitchAreACable()
    {
        // Two bridges would be needed to see a frame cross twice; on one, it ends where it would go in a circle.
        using TestSwitch sw = new TestSwitch(clock: new MonotonicClock()).Port(1);
        sw.SetStatic(B, 2);
        sw.SetStatic(A, 1);
        sw.Device(2, $"dpdk:{Devargs("server")}").Device(3, $"dpdk:{Devargs("client")}");
        // Until the two have met, port 2 takes nothing.
        sw.Until(() => sw.Send(1, Of(B, A)).Counters(2).TxPackets != 0, "a packet taken");
        sw.Poll();
        PortCounters sent = sw.Counters(2), received = sw.Counters(3);
        Assert.Equal((sent.TxPackets, sent.TxBytes), (received.RxPackets, received.RxBytes));
        Assert.Equal(received.RxPackets, sw.Drops(3, DropReason.SourceStatic));
        Assert.Equal(sent.Offered - sent.TxPackets, sw.Drops(2, DropReason.EgressFull));
    }

    [Fact]
    public void WithoutAPartnerPacketsAreDroppedAndCounted()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        sw.Device(2, $"dpdk:{Devargs("server")}");
        foreach (int _ in Enumerable.Range(0, 100))
        {
            sw.Send(1, Of(Broadcast, A));
        }
        Assert.Equal($"2 {DropReason.EgressFull} 100", sw.Drops());
    }

    [Fact]
    public void APartnerThatGoesAndComesBackIsServedAgain()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        sw.SetStatic(B, 2);
        sw.Device(2, $"dpdk:{Devargs("server")}");
        for (int round = 0; round < 5; round++)
        {
            using EthDevice peer = DpdkPorts.Peer(sw, Devargs("client"));
            WaitForLink(sw, peer);
            sw.Until(() => sw.Send(1, Of(B, A)) != null && peer.Take().Count == 1, $"a frame in round {round}");
            Assert.True(peer.Send(sw, Of(A, C)));
            sw.Until(() =>
            {
                sw.Poll();
                return sw.Take(1).Count == 1;
            }, $"an answer in round {round}");
        }
    }

    /// <summary>The driver answers the end of one on a thread of DPDK, while this thread ends the other.</summary>
    [Fact]
    public void BothEndsMayCloseAtOnce()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        for (int round = 0; round < 200; round++)
        {
            using EthDevice server = DpdkPorts.Peer(sw, Devargs("server")), client = DpdkPorts.Peer(sw, Devargs("client"));
            WaitForLink(sw, server);
            WaitForLink(sw, client);
        }
    }

    [Fact]
    public void TheSocketOfAServerThatWasKilledIsReplaced()
    {
        using (SeqPacketListener killed = SeqPacketListener.Listen(_directory["living.sock"]))
        {
            File.Move(_directory["living.sock"], _directory["memif.sock"]); // so that it stays when its listener goes
        }
        Assert.True(Path.Exists(_directory["memif.sock"]));
        using TestSwitch sw = new TestSwitch().Port(1);
        sw.Device(2, $"dpdk:{Devargs("server")}");
        using EthDevice peer = DpdkPorts.Peer(sw, Devargs("client"));
        sw.Until(() => sw.Send(1, Of(Broadcast, A)) != null && peer.Take().Count != 0, "a broadcast");
    }

    [Fact]
    public void PortsMayShareASocket()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        sw.Device(2, $"dpdk:{Devargs("server")},id=2").Device(3, $"dpdk:{Devargs("server")},id=3");
        using EthDevice second = DpdkPorts.Peer(sw, $"{Devargs("client")},id=2"), third = DpdkPorts.Peer(sw, $"{Devargs("client")},id=3");
        foreach ((int port, EthDevice peer) in ((int, EthDevice)[])[(2, second), (3, third)])
        {
            string mac = Mac(port);
            sw.SetStatic(mac, port);
            sw.Until(() => sw.Send(1, Of(mac, A)) != null && peer.Take() is [.., var last] && last.SequenceEqual(Of(mac, A)), $"a frame at port {port}");
        }
        Assert.Empty(second.Take());
    }

    [Fact]
    public void TrafficCrossesWhileAnotherPortComesAndGoes()
    {
        const int Packets = 20_000, Window = 64;
        using TestSwitch sw = new TestSwitch(clock: new MonotonicClock()).Port(1);
        sw.SetStatic(B, 2);
        sw.Device(2, $"dpdk:{Devargs("server")}").Start();
        using EthDevice peer = DpdkPorts.Peer(sw, Devargs("client"));
        WaitForLink(sw, peer);
        sw.Until(() => peer.Link.up != 0 && sw.TryInject(1, Of(B, A)) && peer.Take().Count != 0, "the first frame");
        Thread.Sleep(20);
        int before = peer.Take().Count; // of those that were sent until one came
        Assert.True(before >= 0);

        byte[] frame = Of(B, A);
        int sent = 0, received = 0, rounds = 0;
        EnginePort? other = null;
        sw.Until(() =>
        {
            for (; sent < Packets && sent - received < Window; sent++)
            {
                BitConverter.TryWriteBytes(frame.AsSpan(14), sent);
                if (!sw.TryInject(1, frame))
                {
                    break;
                }
            }
            foreach (byte[] arrived in peer.Take())
            {
                Assert.Equal(received++, BitConverter.ToInt32(arrived.AsSpan(14)));
            }
            if (received / 500 > rounds)
            {
                rounds++;
                if (other == null)
                {
                    sw.Device(3, $"dpdk:{Devargs("server", "other.sock")}");
                    other = sw.Engine.Ports[^1];
                }
                else
                {
                    sw.Detach(3);
                    other = null;
                }
            }
            return received == Packets;
        }, "all packets in order");
        sw.Stop();
        Assert.Equal(Packets / 500, rounds);
        Assert.Equal("", string.Join(',', sw.Drops().Split(", ").Where(d => !d.StartsWith("2 EgressFull", StringComparison.Ordinal) && d.Length != 0)));
    }
}
