using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>
/// Random traffic through services and masquerade beside a model of address translation as RFC 3022 has it: two dictionaries. What the
/// model cannot know (which backend, which port) it takes from the first packet of a flow, and checks that it may be; from then on, it knows
/// every packet to the byte.
/// </summary>
public sealed class NatModelTests
{
    private const int Steps = 6000;

    /// <summary>A flow as one side sees it.</summary>
    private readonly record struct Flow(byte Protocol, string Source, int From, string Destination, int To)
    {
        public Flow Reverse() => new(Protocol, Destination, To, Source, From);
        public Ip Packet(int payload) => Protocol == Ip.Udp ? Ip.OfUdp(Source, Destination, From, To, payload) : Ip.OfSctp(Source, Destination, From, To, 3, payload & ~3);
        public static Flow Of(Ip packet) => new(packet.Protocol, packet.Source, packet.Word(0), packet.Destination, packet.Word(2));
    }

    /// <summary>Of a connection: what its client sends, and what arrives.</summary>
    private readonly record struct Binding(Flow Inside, Flow Outside);

    private sealed record Net(string[] Hosts, string[] Vips, string[] Backends, string[] World, string[] Pool)
    {
        public static Net V4 { get; } = new(["10.0.1.2", "10.0.1.3", "10.0.1.4"], ["10.96.0.1", "10.96.0.2"], ["10.0.2.10", "10.0.2.11", "10.0.2.12"],
            ["198.51.100.1", "198.51.100.2"], ["192.0.2.1", "192.0.2.2"]);
        public static Net V6 { get; } = new(["fd00:1::2", "fd00:1::3", "fd00:1::4"], ["fd96::1", "fd96::2"], ["fd00:2::10", "fd00:2::11", "fd00:2::12"],
            ["2001:db8:1::1", "2001:db8:1::2"], ["2001:db8::1", "2001:db8::2"]);
    }

    [Theory]
    [InlineData(1, false, 1)]
    [InlineData(2, false, 3)] // each port has a worker of its own: answers come to another one than what they answer
    [InlineData(3, true, 1)]
    [InlineData(4, true, 3)]
    public void Every_packet_is_what_the_model_says(int seed, bool v6, int workers)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        var random = new Random(seed);
        using RouteLab lab = Lab(net, workers);
        var known = new Dictionary<Flow, Binding>();
        var outside = new Dictionary<Flow, Flow>(); // what arrives, by what was sent
        for (int step = 0; step < Steps; step++)
        {
            int payload = random.Next(16, 300);
            if (known.Count != 0 && random.Next(2) == 0)
            {
                Binding binding = known.ElementAt(random.Next(known.Count)).Value;
                if (random.Next(4) == 0)
                {
                    CheckError(lab, binding, payload);
                }
                else
                {
                    bool isBackend = net.Backends.Contains(binding.Outside.Destination);
                    Ip answer = binding.Outside.Reverse().Packet(payload);
                    lab.Send(isBackend ? 2 : 3, answer);
                    Assert.Equal(binding.Inside.Reverse().Packet(payload) with { Ttl = 63 }, lab.TakeOne(1));
                }
                continue;
            }
            Flow flow = Random(random, net);
            bool begins = flow.Protocol == Ip.Udp || known.ContainsKey(flow);
            lab.Send(1, begins ? flow.Packet(payload) : Init(flow));
            Ip arrived = Assert.Single(lab.Take(2).Concat(lab.Take(3)).Select(Ip.Of).ToList());
            Flow seen = Flow.Of(arrived);
            if (!known.TryGetValue(flow, out Binding present))
            {
                known[flow] = present = new Binding(flow, seen);
                Assert.True(outside.TryAdd(seen.Reverse(), flow), $"{seen} is {flow} and {outside.GetValueOrDefault(seen.Reverse())}");
                CheckChoice(net, flow, seen);
            }
            Assert.Equal(begins ? present.Outside.Packet(payload) with { Ttl = 63 } : Init(present.Outside) with { Ttl = 63 }, arrived);
        }
        Assert.True(known.Count > Steps / 10);
        Assert.Equal("", lab.Switch.Drops());
        Assert.Equal(known.Count, lab.Switch.Segment.Connections.Statistics().Connections);
    }

    private static Flow Random(Random random, Net net)
    {
        byte protocol = random.Next(4) == 0 ? (byte)132 : Ip.Udp;
        string host = net.Hosts[random.Next(net.Hosts.Length)];
        // Few ports of clients, so that they collide outside.
        int from = 5000 + random.Next(60);
        return random.Next(2) == 0
            ? new Flow(protocol, host, from, net.Vips[random.Next(2)], 53)
            : new Flow(protocol, host, from, net.World[random.Next(2)], 80 + random.Next(3));
    }

    /// <summary>What a service or a pool may make of a flow.</summary>
    private static void CheckChoice(Net net, Flow flow, Flow seen)
    {
        if (net.Vips.Contains(flow.Destination))
        {
            Assert.Contains(seen.Destination, net.Backends);
            Assert.Equal((5353, flow.Source), (seen.To, seen.Source));
        }
        else
        {
            Assert.Contains(seen.Source, net.Pool);
            Assert.Equal((flow.Destination, flow.To), (seen.Destination, seen.To));
            Assert.InRange(seen.From, 5000, 5099);
        }
    }

    private static void CheckError(RouteLab lab, Binding binding, int payload)
    {
        bool v6 = binding.Inside.Source.Contains(':', StringComparison.Ordinal);
        string router = v6 ? "2001:db8:9::1" : "203.0.113.1";
        byte[] sent = binding.Inside.Packet(payload).ToBytes(), arrived = binding.Outside.Packet(payload).ToBytes();
        int cut = (v6 ? 40 : 20) + 8;
        lab.Send(3, Error(v6, router, binding.Outside.Source, arrived[..cut]));
        // Who translates the destination speaks for it.
        string speaker = binding.Inside.Destination == binding.Outside.Destination ? router : binding.Inside.Destination;
        Assert.Equal(Error(v6, speaker, binding.Inside.Source, sent[..cut]) with { Ttl = 63 }, lab.TakeOne(1));
    }

    private static Ip Error(bool v6, string source, string destination, byte[] quoted) =>
        Ip.OfIcmp(source, destination, v6 ? (byte)3 : (byte)11, 0, [0, 0, 0, 0, .. quoted]);

    private static Ip Init(Flow flow) => flow.Protocol == Ip.Udp ? flow.Packet(16) : Ip.OfSctp(flow.Source, flow.Destination, flow.From, flow.To, 1, 16);

    private static RouteLab Lab(Net net, int workers)
    {
        RouteLab lab = new RouteLab(workers).Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64").Routed(3, "192.0.2.1/24", "2001:db8::1/64")
            .Neighbour(3, "192.0.2.254").Neighbour(3, "2001:db8::fe").Via("0.0.0.0/0", 3, "192.0.2.254").Via("::/0", 3, "2001:db8::fe");
        for (int i = 0; i < 3; i++)
        {
            lab.Neighbour(1, net.Hosts[i], PeerMac(1, i + 2)).Neighbour(2, net.Backends[i], PeerMac(2, i + 10));
        }
        foreach (string vip in net.Vips)
        {
            foreach (byte protocol in (byte[])[Ip.Udp, 132])
            {
                (string, int)[] backends = [.. net.Backends.Select((b, i) => (At(b, 5353), i + 1))];
                // Each address has its port, so that no client meets one backend by two services with one port.
                lab.Service(protocol, At(vip, 53), r => r, maglev: false, vip == net.Vips[0] ? backends[..2] : backends[2..]);
            }
        }
        return lab.Masquerade(1, 3, net.Pool, 5000, 5099).Tracks();
    }
}
