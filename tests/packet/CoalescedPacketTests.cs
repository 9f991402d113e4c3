using System.Buffers.Binary;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Packets of a flow that go to a TAP as one (<see cref="CoalescedPacket"/>): taken apart by <see cref="Reference"/> they are what they were,
/// and what could not be told from it afterwards stays alone.
/// </summary>
public sealed class CoalescedPacketTests
{
    private const int Network = Wire.EthernetHeader, Transport = Network + IPv4Header.MinLength;

    private static readonly (string Description, Unfinished Large)[] Wholes =
    [
        ("TCPv4", Inet.Tcp(4000, 1000)),
        ("TCPv4, a shorter one at the end", Inet.Tcp(4321, 1000)),
        ("TCPv4, two", Inet.Tcp(1449, 1448)),
        ("TCPv4 with a time stamp", Inet.Tcp(20_000, 1448, options: 12)),
        ("TCPv4 with all options there may be", Inet.Tcp(20_000, 1400, options: 40)),
        ("TCPv4 that ends with a push", Inet.Tcp(5000, 1448, flags: Inet.Ack | Inet.Psh)),
        ("TCPv4, odd sizes", Inet.Tcp(7777, 1111)),
        ("TCPv4 in a VLAN", Inet.Tcp(5000, 1448, tags: [10])),
        ("TCPv4 in a VLAN in a VLAN", Inet.Tcp(5000, 1440, tags: [10, 20])),
        ("TCPv4, as many as there may be", Inet.Tcp(64_000, 1000)),
        ("TCPv6", Inet.Tcp(4500, 1428, v6: true)),
        ("TCPv6 with all options there may be, in two VLANs", Inet.Tcp(20_000, 1300, v6: true, options: 40, tags: [10, 20])),
        ("UDPv4", Inet.Udp(10_000, 1400)),
        ("UDPv4, one byte each", Inet.Udp(64, 1)),
        ("UDPv4, odd sizes", Inet.Udp(9999, 1397)),
        ("UDPv4 in a VLAN", Inet.Udp(5000, 1200, tags: [10])),
        ("UDPv6", Inet.Udp(10_000, 1400, v6: true)),
    ];

    public static TheoryData<string> WholeRows => [.. Wholes.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(WholeRows))]
    public void WhatWasCutIsOneAgain(string description)
    {
        Unfinished large = Wholes.Single(row => row.Description == description).Large;
        Unfinished got = Assert.Single(Through(Reference.Cut(large)));
        Assert.Equal(large.Frame, got.Frame);
        Assert.Equal(large.Vnet, got.Vnet);
    }

    private sealed record Change(string Description, Action<byte[]> First, Action<byte[]> Second, bool Mended = true, bool Udp = false);

    private static readonly Change[] Changes =
    [
        Second("another destination MAC address", f => f[5]++),
        Second("another source MAC address", f => f[10]++),
        Second("other differentiated services", f => f[Network + 1] = 4),
        Second("congestion experienced", f => f[Network + 1] = 3),
        Second("another time to live", f => f[Network + 8]--),
        Second("may be fragmented", f => f[Network + 6] = 0),
        Second("another source address", f => f[Network + 15]++),
        Second("another destination address", f => f[Network + 19]++),
        Second("another source port", f => f[Transport + 1]++),
        Second("another destination port", f => f[Transport + 3]++),
        Second("a gap", f => f[Transport + 7]++),
        Second("again what was there", f => f[Transport + 7]--),
        Second("another acknowledgement", f => f[Transport + 11]++),
        Second("another window", f => f[Transport + 15]++),
        Second("an urgent pointer", f => f[Transport + 19]++),
        Second("a reserved flag", f => f[Transport + 12] |= 1),
        Second("another option", f => f[Transport + 20] = 0),
        Second("FIN", f => f[Transport + 13] |= Inet.Fin),
        Second("SYN", f => f[Transport + 13] |= Inet.Syn),
        Second("RST", f => f[Transport + 13] |= 4),
        Second("URG", f => f[Transport + 13] |= 0x20),
        Second("ECE", f => f[Transport + 13] |= Inet.Ece),
        Second("CWR", f => f[Transport + 13] |= Inet.Cwr),
        Second("no ACK", f => f[Transport + 13] = 0),
        Second("another protocol", f => f[Network + 9] = Wire.ProtocolSctp),
        Second("a fragment", f => f[Network + 6] |= 0x20),
        Second("a later fragment", f => f[Network + 7] = 1),
        new("a push in the first", f => f[Transport + 13] |= Inet.Psh, _ => { }),
        new("a wrong checksum of the first", f => f[^1]++, _ => { }, Mended: false),
        new("a wrong checksum of the second", _ => { }, f => f[^1]++, Mended: false),
        new("a wrong checksum of the first's IP header", f => f[Network + 10]++, _ => { }, Mended: false),
        new("a wrong checksum of the second's IP header", _ => { }, f => f[Network + 10]++, Mended: false),
        new("may be fragmented, and does not count up", f => f[Network + 6] = 0, f => (f[Network + 6], f[Network + 5]) = (0, 77)),
        new("another UDP port", _ => { }, f => f[Transport + 3]++, Udp: true),
        new("a wrong UDP checksum of the first", f => f[^1]++, _ => { }, Mended: false, Udp: true),
        new("a wrong UDP checksum of the second", _ => { }, f => f[^1]++, Mended: false, Udp: true),
        new("another UDP length", _ => { }, f => f[Transport + 5]--, Udp: true),
        new("no UDP checksum in the first", f => f.AsSpan(Transport + 6, 2).Clear(), _ => { }, Mended: false, Udp: true),
        new("no UDP checksum in the second", _ => { }, f => f.AsSpan(Transport + 6, 2).Clear(), Mended: false, Udp: true),
    ];

    public static TheoryData<string> ChangeRows => [.. Changes.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(ChangeRows))]
    public void WhatCouldNotBeToldAfterwardsStaysAlone(string description)
    {
        Change change = Changes.Single(row => row.Description == description);
        List<byte[]> frames = Reference.Cut(change.Udp ? Inet.Udp(1000, 500) : Inet.Tcp(1000, 500, options: 4));
        Assert.Single(Through(frames)); // without the change
        change.First(frames[0]);
        change.Second(frames[1]);
        if (change.Mended)
        {
            frames.ForEach(Mend);
        }
        Alone(frames);
    }

    [Fact]
    public void WhatIsLongerThanTheFirstStaysAlone()
    {
        List<byte[]> frames = Reference.Cut(Inet.Udp(1000, 500));
        byte[] longer = Reference.Cut(Inet.Udp(1002, 501))[1];
        Alone([frames[0], longer]);
        // Behind a shorter one nothing comes.
        List<byte[]> shorter = Reference.Cut(Inet.Udp(900, 500));
        Assert.Equal([1000 - 100 + Transport + 8, frames[0].Length], Through([.. shorter, frames[0]]).Select(packet => packet.Frame.Length));
    }

    [Theory]
    [InlineData(64, 1)]
    [InlineData(65, 2)]
    [InlineData(128, 2)]
    public void SoManyAtMostBecomeOne(int datagrams, int expected) => Assert.Equal(expected, Through(Reference.Cut(Inet.Udp(datagrams * 10, 10))).Count);

    [Fact]
    public void ALargePacketFitsItsLengthField()
    {
        List<byte[]> frames = Reference.Cut(Inet.Udp(65_000, 1300));
        Assert.Equal(50, frames.Count);
        List<Unfinished> got = Through([.. frames, frames[0]]);
        Assert.Equal(2, got.Count);
        Assert.Equal(frames, Reference.Cut(got[0]));
    }

    [Theory]
    [InlineData("padding")]
    [InlineData("options of IP")]
    [InlineData("extension header")]
    [InlineData("no payload")]
    public void WhatIsNotOrdinaryStaysAlone(string what)
    {
        List<byte[]> frames = what switch
        {
            "padding" => [.. Reference.Cut(Inet.Udp(4, 2)).Select(frame => (byte[])[.. frame, 0, 0])],
            "options of IP" => Reference.Cut(Inet.Tcp(1000, 500, ipOptions: 4)),
            "extension header" => Reference.Cut(Inet.Tcp(1000, 500, v6: true, ipOptions: 8)),
            _ => [Reference.Finish(Inet.Tcp(0)), Reference.Finish(Inet.Tcp(0))],
        };
        Alone(frames);
    }

    /// <summary>What the sender left open is left open in the whole, and mixes with what is complete.</summary>
    [Fact]
    public void ChecksumsThatArePendingNeedNotBeThere()
    {
        using TestSwitch sw = new();
        sw.Port(1).Tap(2, out TapWire wire);
        Unfinished one = Inet.Udp(100);
        sw.Send(1, Of(B, A));
        wire.Take();
        sw.Tap(3, out TapWire sender);
        for (int i = 0; i < 3; i++)
        {
            Assert.True(sender.Send(one.Frame, one.Vnet));
        }
        Assert.True(sender.Send(Reference.Finish(one)));
        sw.Poll();
        Unfinished got = Assert.Single(wire.Take());
        Assert.Equal(100, got.Vnet.gso_size);
        Assert.Equal(4, Reference.Cut(got).Count);
    }

    /// <summary>Where a kernel refuses the large packet, the packets go one by one, and so do all others.</summary>
    [Fact]
    public void AKernelThatTakesNoneGetsThemAsTheyAre()
    {
        const int Most = 4800, Size = 1658;
        using TestSwitch sw = new();
        sw.Port(1).Tap(2, out TapWire wire, change: record => record with { Mtu = 2000 });
        wire.LimitMessages(Most);
        List<byte[]> large = Reference.Cut(Inet.Udp(3 * Size, Size)), small = Reference.Cut(Inet.Udp(200, 100));
        Assert.Single(Through(sw, wire, small));
        Assert.Equal(large, Through(sw, wire, large).Select(packet => packet.Frame));
        Assert.Equal(small, Through(sw, wire, small).Select(packet => packet.Frame));
        // A stream may still be taken.
        Assert.Single(Through(sw, wire, Reference.Cut(Inet.Tcp(200, 100))));
        large = Reference.Cut(Inet.Tcp(3 * Size, Size));
        Assert.Equal(large, Through(sw, wire, large).Select(packet => packet.Frame));
        Assert.Equal(2, Through(sw, wire, Reference.Cut(Inet.Tcp(200, 100))).Count);
        Assert.Equal("", sw.Drops());
    }

    /// <summary>Whatever flows and faults there are: cut again, everything is there, in its order.</summary>
    [Fact]
    public void NothingIsLostAddedOrOvertaken()
    {
        var random = new Random(20);
        using TestSwitch sw = new();
        sw.Port(1).Tap(2, out TapWire wire);
        int wholes = 0;
        for (int round = 0; round < 300; round++)
        {
            var frames = new List<byte[]>();
            while (frames.Count < 50)
            {
                bool v6 = random.Next(2) == 0;
                int mss = random.Next(1, 300), payload = mss * random.Next(1, 6) + random.Next(mss);
                List<byte[]> flow = Reference.Cut(random.Next(2) == 0
                    ? Inet.Udp(payload, mss, v6)
                    : Inet.Tcp(payload, mss, v6, options: 4 * random.Next(4), flags: random.Next(2) == 0 ? Inet.Ack : (byte)(Inet.Ack | Inet.Psh)));
                foreach (byte[] frame in flow.Where(_ => !v6))
                {
                    frame[Network + 6] = 0; // may be fragmented: then its identification matters
                    Mend(frame);
                }
                for (int fault = random.Next(3); fault > 0; fault--)
                {
                    byte[] frame = flow[random.Next(flow.Count)];
                    frame[random.Next(12, frame.Length)] ^= (byte)(1 << random.Next(8));
                }
                frames.AddRange(flow.Take(60 - frames.Count));
            }
            List<Unfinished> got = Through(sw, wire, frames);
            wholes += got.Count(packet => packet.Vnet.gso_size != 0);
            Assert.Equal(frames, got.SelectMany(packet => packet.Vnet.gso_size == 0 ? [packet.Frame] : Reference.Cut(packet)));
        }
        Assert.True(wholes > 300);
    }

    private static Change Second(string description, Action<byte[]> change) => new(description, _ => { }, change);

    private static void Alone(List<byte[]> frames)
    {
        List<Unfinished> got = Through(frames);
        Assert.Equal(frames, got.Select(packet => packet.Frame));
        Assert.All(got, packet => Assert.Equal(default, packet.Vnet));
    }

    private static List<Unfinished> Through(List<byte[]> frames)
    {
        using TestSwitch sw = new();
        sw.Port(1).Tap(2, out TapWire wire);
        return Through(sw, wire, frames);
    }

    private static List<Unfinished> Through(TestSwitch sw, TapWire wire, List<byte[]> frames)
    {
        sw.Send(1, [.. frames]);
        return wire.Take();
    }

    /// <summary>Makes both checksums right.</summary>
    private static void Mend(byte[] frame)
    {
        Span<byte> ip = frame.AsSpan(Network, IPv4Header.MinLength), transport = frame.AsSpan(Transport);
        ip[10..12].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(ip[10..], Reference.Checksum(ip));
        byte protocol = ip[9];
        Span<byte> field = transport[(protocol == Wire.ProtocolUdp ? 6 : 16)..][..2];
        field.Clear();
        byte[] pseudo = [.. ip[12..20], 0, protocol, (byte)(transport.Length >> 8), (byte)transport.Length, .. transport];
        BinaryPrimitives.WriteUInt16BigEndian(field, Reference.Checksum(pseudo));
    }
}
