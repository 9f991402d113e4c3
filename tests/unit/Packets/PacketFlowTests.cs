using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.UnitTests.Packets;

/// <summary>What of a packet names its flow. Each row is an IP packet, read whole and cut off after every one of its bytes.</summary>
public sealed unsafe class PacketFlowTests
{
    private const string V4 = "0a000102" + "0a000203", V6 = "fd000000000000000000000000000001" + "fd000000000000000000000000000002";
    private const string Tcp20 = "1388005000000001000000025012ffff00000000";

    /// <param name="Description">What it is.</param>
    /// <param name="Packet">The IP packet in hexadecimal digits.</param>
    /// <param name="Kind">What is made of it.</param>
    /// <param name="Numbers">Protocol, source port, destination port, offset of the transport header from the IP header.</param>
    /// <param name="Needed">Bytes of the packet that must be there for this kind; with fewer it is unreadable.</param>
    private sealed record Row(string Description, string Packet, FlowKind Kind, (int, int, int, int) Numbers, int Needed, bool IsFirst = false, uint Id = 0x1234);

    private static readonly Row[] Table =
    [
        new("TCP", Ip4(6, Tcp20), FlowKind.Ports, (6, 5000, 80, 20), 40),
        new("TCP behind options", Ip4(6, Tcp20, options: "01010100"), FlowKind.Ports, (6, 5000, 80, 24), 44),
        new("UDP", Ip4(17, "1388003500080000"), FlowKind.Ports, (17, 5000, 53, 20), 28),
        new("SCTP", Ip4(132, "138800350000000100000000"), FlowKind.Ports, (132, 5000, 53, 20), 32),
        new("an echo request", Ip4(1, "08000000004d0001"), FlowKind.Echo, (1, 77, 0, 20), 28),
        new("an echo reply", Ip4(1, "00000000004d0001"), FlowKind.Echo, (1, 0, 77, 20), 28),
        new("an unreachable", Ip4(1, "0301000000000000"), FlowKind.Error, (1, 0, 0, 20), 28),
        new("time exceeded", Ip4(1, "0b00000000000000"), FlowKind.Error, (1, 0, 0, 20), 28),
        new("a redirect", Ip4(1, "0500000000000000"), FlowKind.Message, (1, 0, 0, 20), 28),
        new("a timestamp request", Ip4(1, "0d00000000000000"), FlowKind.Message, (1, 0, 0, 20), 28),
        new("GRE", Ip4(47, ""), FlowKind.Addresses, (47, 0, 0, 20), 20),
        new("ICMPv6 in IPv4", Ip4(58, "8000000000000000"), FlowKind.Addresses, (58, 0, 0, 20), 20),
        new("the first fragment", Ip4(17, "1388003500080000", fragment: "2000"), FlowKind.Ports, (17, 5000, 53, 20), 28, IsFirst: true),
        new("a fragment in the middle", Ip4(17, "1388003500080000", fragment: "2001"), FlowKind.LaterFragment, (17, 0, 0, 20), 20),
        new("the last fragment", Ip4(17, "1388003500080000", fragment: "0001"), FlowKind.LaterFragment, (17, 0, 0, 20), 20),
        new("under \"do not fragment\"", Ip4(17, "1388003500080000", fragment: "4000"), FlowKind.Ports, (17, 5000, 53, 20), 28),
        new("IPv6 TCP", Ip6(6, Tcp20), FlowKind.Ports, (6, 5000, 80, 40), 60, Id: 0),
        new("IPv6 UDP behind options", Ip6(60, "1100010400000000" + "1388003500080000"), FlowKind.Ports, (17, 5000, 53, 48), 56, Id: 0),
        new("an IPv6 echo request", Ip6(58, "80000000004d0001"), FlowKind.Echo, (58, 77, 0, 40), 48, Id: 0),
        new("an IPv6 echo reply", Ip6(58, "81000000004d0001"), FlowKind.Echo, (58, 0, 77, 40), 48, Id: 0),
        new("an IPv6 packet too big", Ip6(58, "0200000000000500"), FlowKind.Error, (58, 0, 0, 40), 48, Id: 0),
        new("a neighbour solicitation", Ip6(58, "8700000000000000"), FlowKind.Message, (58, 0, 0, 40), 48, Id: 0),
        new("ICMP in IPv6", Ip6(1, "0800000000000000"), FlowKind.Addresses, (1, 0, 0, 40), 40, Id: 0),
        new("no next header", Ip6(59, ""), FlowKind.Addresses, (59, 0, 0, 40), 40, Id: 0),
        new("the first IPv6 fragment", Ip6(44, "11000001deadbeef" + "1388003500080000"), FlowKind.Ports, (17, 5000, 53, 48), 56, IsFirst: true, Id: 0xDEAD_BEEF),
        new("a later IPv6 fragment", Ip6(44, "11000008deadbeef" + "1388003500080000"), FlowKind.LaterFragment, (17, 0, 0, 48), 48, Id: 0xDEAD_BEEF),
        new("an atomic IPv6 fragment", Ip6(44, "11000000deadbeef" + "1388003500080000"), FlowKind.Ports, (17, 5000, 53, 48), 56, Id: 0xDEAD_BEEF),
    ];

    public static TheoryData<string> Rows => [.. Table.Select(row => row.Description)];

    [Theory]
    [MemberData(nameof(Rows))]
    public void Is_read(string description)
    {
        Row row = Table.Single(r => r.Description == description);
        byte[] whole = Convert.FromHexString(row.Packet);
        bool v6 = whole[0] >> 4 == 6;
        for (int length = v6 ? 40 : whole[0] % 16 * 4; length <= whole.Length; length++)
        {
            // What is behind the buffer says something else; reading it would show.
            PacketFlow flow = Read([.. whole[..length], .. Enumerable.Repeat((byte)0xEE, 64)], length, v6);
            if (length < row.Needed)
            {
                Assert.Equal(FlowKind.Unreadable, flow.Kind);
                continue;
            }
            (int protocol, int source, int destination, int transport) = row.Numbers;
            Assert.Equal(row.Kind, flow.Kind);
            Assert.Equal((protocol, source, destination, transport + 14), (flow.Protocol, flow.SourcePort, flow.DestinationPort, flow.Transport));
            Assert.Equal((row.IsFirst, row.Id, v6), (flow.IsFirstFragment, flow.Identification, flow.IsIPv6));
            Assert.Equal(v6 ? 1ul : 0x0A00_0102, flow.Source.Low);
            Assert.Equal(v6 ? 2ul : 0x0A00_0203, flow.Destination.Low);
            Assert.Equal(row.Packet.Contains(Tcp20, StringComparison.Ordinal) ? 0x12 : 0, flow.TcpFlags);
        }
    }

    /// <summary>What stands behind the end that the IP header gives does not belong to the packet.</summary>
    [Fact]
    public void Padding_is_not_read()
    {
        byte[] packet = Convert.FromHexString(Ip4(17, "1388003500080000"));
        packet[3] = 27;
        Assert.Equal(FlowKind.Unreadable, Read(packet, packet.Length, v6: false).Kind);
    }

    /// <param name="packet">The quoted packet.</param>
    /// <param name="needed">Bytes without which it says nothing; 0 where it says nothing at all.</param>
    [Theory]
    [InlineData("TCP", 24)]
    [InlineData("TCP behind options", 28)]
    [InlineData("UDP", 24)]
    [InlineData("SCTP", 24)]
    [InlineData("an echo request", 26)]
    [InlineData("an echo reply", 26)]
    [InlineData("an unreachable", 0)]
    [InlineData("GRE", 20)]
    [InlineData("the first fragment", 24)]
    [InlineData("the last fragment", 0)]
    [InlineData("IPv6 TCP", 44)]
    [InlineData("an IPv6 echo request", 46)]
    [InlineData("IPv6 UDP behind options", 0)]
    [InlineData("the first IPv6 fragment", 0)]
    public void Is_read_where_it_is_quoted(string packet, int needed)
    {
        Row row = Table.Single(r => r.Description == packet);
        byte[] bytes = [0xAA, .. Convert.FromHexString(row.Packet), 0xEE];
        bool v6 = bytes[1] >> 4 == 6;
        fixed (byte* p = bytes)
        {
            for (int length = 0; length <= bytes.Length - 2; length++)
            {
                Assert.Equal(needed != 0 && length >= needed, PacketFlow.TryReadQuoted(p, 1, 1 + length, v6, out PacketFlow flow));
                if (needed != 0 && length >= needed)
                {
                    (int protocol, int source, int destination, int transport) = row.Numbers;
                    Assert.Equal((protocol, source, destination, transport + 1), (flow.Protocol, flow.SourcePort, flow.DestinationPort, flow.Transport));
                    Assert.Equal((flow.Destination, flow.DestinationPort, flow.Source), (flow.Reversed.Source, flow.Reversed.SourcePort, flow.Reversed.Destination));
                }
                Assert.False(PacketFlow.TryReadQuoted(p, 1, 1 + length, !v6, out _));
            }
        }
    }

    private static PacketFlow Read(byte[] packet, int length, bool v6)
    {
        byte[] frame = [.. new byte[14], .. packet];
        fixed (byte* p = frame)
        {
            var mbuf = new rte_mbuf { buf_addr = p, data_off = 0, data_len = (ushort)(14 + length), pkt_len = (uint)(14 + length) };
            PacketFlow flow;
            if (v6)
            {
                PacketFlow.Read6(&mbuf, out flow);
            }
            else
            {
                PacketFlow.Read4(&mbuf, out flow);
            }
            return flow;
        }
    }

    private static string Ip4(byte protocol, string payload, string options = "", string fragment = "0000") =>
        $"{0x45 + (options.Length / 8):x2}00{20 + ((options.Length + payload.Length) / 2):x4}1234{fragment}40{protocol:x2}0000{V4}{options}{payload}";

    private static string Ip6(byte protocol, string payload) => $"60000000{payload.Length / 2:x4}{protocol:x2}40{V6}{payload}";
}
