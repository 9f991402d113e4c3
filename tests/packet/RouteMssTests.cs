using Dataplane.Memory;
using Dataplane.PacketTests.Harness;
using static Dataplane.PacketTests.Harness.RouteLab;

namespace Dataplane.PacketTests;

/// <summary>The maximum segment size in SYNs (RFC 9293, 3.7.1), lowered on the way.</summary>
public sealed class RouteMssTests
{
    private const string A4 = "10.0.1.2", B4 = "10.0.2.2", A6 = "fd00:1::2", B6 = "fd00:2::2";
    private static readonly byte[] Mss1460 = [2, 4, 0x05, 0xB4];

    /// <param name="Description">What is special.</param>
    /// <param name="Packet">Into port 1, whose MTU is 1,500.</param>
    /// <param name="Mss">What its option says behind the router; 0 when the packet is as it was.</param>
    /// <param name="Mtu">Of port 2.</param>
    /// <param name="Clamps">The interfaces that clamp.</param>
    private sealed record Row(string Description, Func<Ip> Packet, int Mss, int Mtu = 1400, string Clamps = "2");

    private static readonly Row[] Table =
    [
        new("a SYN", () => Tcp(Inet.Syn, Mss1460), 1360),
        new("a SYN, clamped on the way in", () => Tcp(Inet.Syn, Mss1460), 1360, Clamps: "1"),
        new("a SYN where nothing is clamped", () => Tcp(Inet.Syn, Mss1460), 0, Clamps: ""),
        new("an answer to a SYN", () => Tcp(Inet.Syn | Inet.Ack, Mss1460), 1360),
        new("no SYN", () => Tcp(Inet.Ack, Mss1460), 0),
        new("a SYN that is small enough", () => Tcp(Inet.Syn, [2, 4, 0x05, 0x50]), 0),
        new("a SYN for a larger MTU", () => Tcp(Inet.Syn, [2, 4, 0x22, 0xF8]), 1460, Mtu: 9000),
        new("a SYN with options in front, at an odd offset", () => Tcp(Inet.Syn, [1, 2, 4, 0x05, 0xB4, 1, 1, 1]), 1360),
        new("a SYN with options in front, at an even one", () => Tcp(Inet.Syn, [1, 1, 2, 4, 0x05, 0xB4, 1, 1]), 1360),
        new("a SYN as Linux sends it", () => Tcp(Inet.Syn, [2, 4, 0x05, 0xB4, 4, 2, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 3, 3, 7]), 1360),
        new("a SYN whose option comes last", () => Tcp(Inet.Syn, [3, 3, 7, 1, 2, 4, 0x05, 0xB4]), 1360),
        new("a SYN without the option", () => Tcp(Inet.Syn, [4, 2, 1, 1]), 0),
        new("a SYN without options", () => Tcp(Inet.Syn, []), 0),
        new("a SYN whose options ended before", () => Tcp(Inet.Syn, [0, 0, 0, 0, .. Mss1460]), 0),
        new("a SYN with an option of length 0", () => Tcp(Inet.Syn, [3, 0, 0, 0, .. Mss1460]), 0),
        new("a SYN with an option of length 1", () => Tcp(Inet.Syn, [3, 1, 0, 0, .. Mss1460]), 0),
        new("a SYN with an option that runs past the end", () => Tcp(Inet.Syn, [3, 40, 0, 0, .. Mss1460]), 0),
        new("a SYN whose option is cut off", () => Tcp(Inet.Syn, [1, 1, 2, 4]), 0),
        new("a SYN whose option has another length", () => Tcp(Inet.Syn, [2, 3, 0x05, 0xB4]), 0),
        new("a SYN with data", () => Ip.OfTcp(A4, B4, 1, 2, Inet.Syn, Mss1460, payload: 33), 1360),
        new("a SYN behind IPv4 options", () => Tcp(Inet.Syn, Mss1460) with { Options = [1, 1, 1, 0] }, 1360),
        new("what looks like a SYN in a later fragment", () => Tcp(Inet.Syn, Mss1460) with { Fragment = 5 }, 0),
        new("half a TCP header", () => new Ip(A4, B4, Ip.Tcp, Tcp(Inet.Syn, Mss1460).Payload[..18]), 0),
        new("UDP", () => Ip.OfUdp(A4, B4, 1, 2), 0),
        new("an IPv6 SYN", () => Ip.OfTcp(A6, B6, 1, 2, Inet.Syn, Mss1460), 1340),
        new("an IPv6 SYN that is small enough", () => Ip.OfTcp(A6, B6, 1, 2, Inet.Syn, [2, 4, 0x05, 0x3C]), 0),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void IsLoweredOrNot(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        using RouteLab lab = Lab(row.Mtu, row.Clamps);
        Ip before = row.Packet();
        lab.Send(1, before);
        Ip after = lab.TakeOne(2);
        if (row.Mss == 0)
        {
            Assert.Equal(before with { Ttl = 63 }, after);
            return;
        }
        Assert.True(after.IsPayloadGood);
        Assert.Equal(row.Mss, MssOf(after));
        // Nothing else has changed.
        byte[] payload = [.. before.Payload];
        int at = 20 + OptionAt(before);
        Ip.Big16(row.Mss).CopyTo(payload, at + 2);
        after.Payload.AsSpan(16, 2).CopyTo(payload.AsSpan(16));
        Assert.Equal(payload, after.Payload);
    }

    /// <summary>The next hop's own MTU counts, on the way there and for what comes back from there.</summary>
    [Fact]
    public void TheNextHopsMtuCountsInBothDirections()
    {
        using RouteLab lab = Lab(1500, "2").Via("192.0.2.0/24", 2, B4, mtu: 1200).Neighbour(1, A4);
        lab.Send(1, Ip.OfTcp(A4, "192.0.2.1", 1, 2, Inet.Syn, Mss1460)).Send(2, Ip.OfTcp("192.0.2.1", A4, 1, 2, Inet.Syn | Inet.Ack, Mss1460));
        Assert.Equal((1160, 1160), (MssOf(lab.TakeOne(2)), MssOf(lab.TakeOne(1))));
    }

    /// <summary>A checksum that is still to be completed comes out right.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void APendingChecksumStaysRight(bool v6)
    {
        using RouteLab lab = new() { TakesOffloads = true };
        lab.Routed(1, "172.18.0.1/31", "fd00::1/126").Routed(2, record => record with { Mtu = 1400, Flags = record.Flags | InterfaceFlags.ClampMss });
        lab.Via("172.18.0.3", 2, "172.18.0.3").Neighbour(2, "172.18.0.3").Via("fd00::3", 2, "fd00::3").Neighbour(2, "fd00::3");
        Unfinished packet = Inet.Tcp(0, flags: Inet.Syn, v6: v6, options: 4, destination: MacOf(1), source: PeerMac(1));
        Mss1460.CopyTo(packet.Frame, packet.Vnet.csum_start + 20);
        lab.Switch.Send(1, packet);
        Unfinished sent = Assert.Single(lab.Switch.TakeUnfinished(2));
        Assert.Equal(packet.Vnet, sent.Vnet);
        Ip finished = Ip.Of(Reference.Finish(sent));
        Assert.True(finished.IsPayloadGood);
        Assert.Equal(v6 ? 1340 : 1360, MssOf(finished));
    }

    private static Ip Tcp(int flags, byte[] options) => Ip.OfTcp(A4, B4, 40000, 80, (byte)flags, options);

    private static int MssOf(Ip packet) => packet.Word(20 + OptionAt(packet) + 2);

    private static int OptionAt(Ip packet) => packet.Payload.AsSpan(20).IndexOf((ReadOnlySpan<byte>)[2, 4]);

    private static RouteLab Lab(int mtu, string clamps)
    {
        InterfaceRecord Clamp(InterfaceRecord record, char port) =>
            record with { Flags = record.Flags | (clamps.Contains(port, StringComparison.Ordinal) ? InterfaceFlags.ClampMss : 0) };
        return new RouteLab().Routed(1, record => Clamp(record, '1'), "10.0.1.1/24", "fd00:1::1/64")
            .Routed(2, record => Clamp(record, '2') with { Mtu = (ushort)mtu }, "10.0.2.1/24", "fd00:2::1/64").Neighbour(2, B4).Neighbour(2, B6);
    }
}
