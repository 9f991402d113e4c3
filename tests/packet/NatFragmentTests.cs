using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Stages;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>Fragments of datagrams that are translated: whatever order they come in, the other side can put them together.</summary>
public sealed class NatFragmentTests
{
    private sealed record Net(string Client, string Vip, string Backend, string Pool, string Far)
    {
        public static readonly Net V4 = new("10.0.1.2", "10.96.0.1", "10.0.2.10", "192.0.2.1", "198.51.100.7");
        public static readonly Net V6 = new("fd00:1::2", "fd96::1", "fd00:2::10", "2001:db8::1", "2001:db8:1::7");
    }

    public static TheoryData<string, bool> Orders => new()
    {
        { "012", false }, { "012", true }, { "021", false }, { "021", true }, { "120", false }, { "120", true }, { "210", false }, { "210", true }, { "0012", false },
    };

    /// <param name="order">In which order three fragments come.</param>
    /// <param name="v6">IPv6.</param>
    [Theory, MemberData(nameof(Orders))]
    public void A_datagram_arrives_whole(string order, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(Ip.Udp, At(net.Vip, 53), At(net.Backend, 5353));
        for (int id = 1; id < 4; id++)
        {
            Check(lab, 1, 2, order, Ip.OfUdp(net.Client, net.Vip, 5000, 53, 3000), Ip.OfUdp(net.Client, net.Backend, 5000, 5353, 3000), id);
            Check(lab, 2, 1, order, Ip.OfUdp(net.Backend, net.Client, 5353, 5000, 2500), Ip.OfUdp(net.Vip, net.Client, 53, 5000, 2500), id);
        }
        Assert.Equal("", lab.Switch.Drops());
    }

    [Theory, MemberData(nameof(Orders))]
    public void A_masqueraded_datagram_arrives_whole(string order, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Masquerade(1, 3, [net.Pool], first: 1);
        byte reply = v6 ? (byte)129 : (byte)0;
        Check(lab, 1, 3, order, Ip.OfEcho(net.Client, net.Far, 3000), Ip.OfEcho(net.Pool, net.Far, 3000), 7);
        Check(lab, 3, 1, order, Ip.OfEcho(net.Far, net.Pool, 3000, reply), Ip.OfEcho(net.Far, net.Client, 3000, reply), 8);
    }

    /// <summary>What is not translated is not changed either, and not held for longer than it takes.</summary>
    [Theory, MemberData(nameof(Orders))]
    public void Other_fragments_are_routed_as_they_are(string order, bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(Ip.Udp, At(net.Vip, 53), At(net.Backend, 5353));
        Check(lab, 1, 2, order, Ip.OfUdp(net.Client, net.Backend, 5000, 5353, 3000), Ip.OfUdp(net.Client, net.Backend, 5000, 5353, 3000), 9);
    }

    [Theory, InlineData(false), InlineData(true)]
    public void A_fragment_without_a_first_one_waits_and_is_dropped(bool v6)
    {
        Net net = v6 ? Net.V6 : Net.V4;
        using RouteLab lab = Lab().Service(Ip.Udp, At(net.Vip, 53), At(net.Backend, 5353));
        lab.Send(1, Cut(Ip.OfUdp(net.Client, net.Vip, 5000, 53, 3000), 5)[1]);
        Assert.Equal("", lab.Switch.Drops());
        Assert.Equal(1ul, lab.Switch.Counters(1).Held);
        lab.Switch.Clock.Advance(TimeSpan.FromMilliseconds((HeldFragments.Patience / 1_000_000) + 1));
        lab.Switch.Poll();
        Assert.Equal("1 NatFragment 1", lab.Switch.Drops());
        Assert.Equal(0ul, lab.Switch.Counters(1).Held);
        Assert.Empty(lab.Take(2));
    }

    /// <summary>Halves of datagrams fill no memory.</summary>
    [Fact]
    public void Only_so_many_wait()
    {
        using RouteLab lab = Lab().Service(Ip.Udp, "10.96.0.1:53", "10.0.2.10:53");
        for (int id = 0; id < HeldFragments.Capacity + 10; id++)
        {
            lab.Send(1, Cut(Ip.OfUdp("10.0.1.2", "10.96.0.1", 5000, 53, 3000), id)[2]);
        }
        Assert.Equal("1 NatFragment 10", lab.Switch.Drops());
        Assert.Equal((ulong)HeldFragments.Capacity, lab.Switch.Counters(1).Held);
    }

    private static void Check(RouteLab lab, int from, int to, string order, Ip sent, Ip expected, int id)
    {
        Ip[] fragments = Cut(sent, id);
        foreach (char which in order)
        {
            lab.Send(from, fragments[which - '0']);
        }
        lab.Switch.Clock.Advance(TimeSpan.FromMilliseconds(5));
        lab.Switch.Poll();
        Ip[] arrived = [.. lab.Take(to).Select(Ip.Of)];
        IEnumerable<string> Bytes(IEnumerable<Ip> packets) => packets.Select(p => Convert.ToHexString((p with { Ttl = 63 }).ToBytes())).Distinct().Order();
        Assert.Equal(Bytes(Cut(expected, id)), Bytes(arrived));
        Assert.Equal(order.Length, arrived.Length);
        Assert.All(arrived, packet => Assert.Equal(63, packet.Ttl));
    }

    /// <summary>Three fragments.</summary>
    private static Ip[] Cut(Ip packet, int id)
    {
        const int Size = 1024;
        var fragments = new List<Ip>();
        for (int at = 0; at < packet.Payload.Length; at += Size)
        {
            byte[] part = packet.Payload[at..Math.Min(packet.Payload.Length, at + Size)];
            bool more = at + Size < packet.Payload.Length;
            fragments.Add(packet.IsV6
                ? packet with { Payload = part, Protocol = 44, Options = [packet.Protocol, 0, .. Ip.Big16(at | (more ? 1 : 0)), 0, 0, .. Ip.Big16(id)] }
                : packet with { Payload = part, Id = (ushort)id, Fragment = (ushort)((at / 8) | (more ? 0x2000 : 0)) });
        }
        Assert.Equal(3, fragments.Count);
        return [.. fragments];
    }

    private static RouteLab Lab() => new RouteLab().Routed(1, "10.0.1.1/24", "fd00:1::1/64").Routed(2, "10.0.2.1/24", "fd00:2::1/64").Routed(3, "192.0.2.1/24", "2001:db8::1/64")
        .Neighbour(1, "10.0.1.2").Neighbour(1, "fd00:1::2").Neighbour(2, "10.0.2.10").Neighbour(2, "fd00:2::10")
        .Neighbour(3, "192.0.2.254").Neighbour(3, "2001:db8::fe").Via("0.0.0.0/0", 3, "192.0.2.254").Via("::/0", 3, "2001:db8::fe").Tracks();
}
