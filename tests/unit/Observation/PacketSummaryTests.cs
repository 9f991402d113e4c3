using Dataplane.Control.Observation;

namespace Dataplane.UnitTests.Observation;

/// <summary>Packets in one line, and whatever is cut off.</summary>
public sealed class PacketSummaryTests
{
    private const string Ethernet = "02000000000b 02000000000a ";
    private const string Addresses = "02:00:00:00:00:0a > 02:00:00:00:00:0b";
    private const string Ip4 = "0800 4500001c000100004001 0000 ac120002 ac120003 ";

    [Theory]
    [InlineData("02000000000b0200", "shorter than an Ethernet header")]
    [InlineData(Ethernet + "88b5", Addresses + ", type 0x88b5")]
    [InlineData(Ethernet + "0026 424203", Addresses + ", IEEE 802.3 length 38")]
    [InlineData(Ethernet + Ip4 + "0800f7ff00000000", Addresses + ", IPv4 172.18.0.2 > 172.18.0.3, ICMP echo request")]
    [InlineData(Ethernet + Ip4, Addresses + ", IPv4 172.18.0.2 > 172.18.0.3, protocol 1")]
    [InlineData(Ethernet + "0800 45000028000100004006 0000 ac120002 ac120003 1f90 0050", Addresses + ", IPv4 172.18.0.2 > 172.18.0.3, TCP 8080 > 80")]
    [InlineData(Ethernet + "0800 45000028000100004006 0000 ac120002 ac120003 1f90", Addresses + ", IPv4 172.18.0.2 > 172.18.0.3, TCP")]
    [InlineData(Ethernet + "0800 45000028000120b94011 0000 ac120002 ac120003 1f90 0050", Addresses + ", IPv4 172.18.0.2 > 172.18.0.3, protocol 17, fragment")]
    [InlineData(Ethernet + "0800 4f000028000100004011 0000 ac120002 ac120003 1f90 0050", Addresses + ", IPv4 172.18.0.2 > 172.18.0.3, protocol 17")]
    [InlineData(Ethernet + "0800 4500", Addresses + ", type 0x0800")]
    [InlineData(Ethernet + "86dd 600000000008 11 40 fd000000000000000000000000000002 fd000000000000000000000000000003 0035 1388", Addresses + ", IPv6 fd00::2 > fd00::3, UDP 53 > 5000")]
    [InlineData(Ethernet + "86dd 600000000008 3a ff fe80000000000000000000000000000a ff020000000000000000000000000001 87", Addresses + ", IPv6 fe80::a > ff02::1, ICMPv6 neighbour solicitation")]
    [InlineData(Ethernet + "0806 0001080006040001 02000000000a ac120002 000000000000 ac120003", Addresses + ", ARP who has 172.18.0.3? tell 172.18.0.2")]
    [InlineData(Ethernet + "0806 0001080006040002 02000000000a ac120002 02000000000b ac120003", Addresses + ", ARP 172.18.0.2 is at 02:00:00:00:00:0a")]
    [InlineData(Ethernet + "8100 a00a 88b5", Addresses + ", VLAN 10, type 0x88b5")]
    [InlineData(Ethernet + "88a8 0064 8100 000a 88b5", Addresses + ", VLAN 100, VLAN 10, type 0x88b5")]
    [InlineData(Ethernet + "8100 a0", Addresses + ", type 0x8100")]
    public void A_packet_in_one_line(string hex, string expected) =>
        Assert.Equal(expected, PacketSummary.Of(Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal))));

    [Fact]
    public void No_packet_is_too_short_or_too_strange()
    {
        var random = new Random(3);
        byte[] packet = new byte[64];
        ushort[] types = [0x0800, 0x86DD, 0x0806, 0x8100, 0x88A8];
        for (int i = 0; i < 100_000; i++)
        {
            random.NextBytes(packet);
            ushort type = types[random.Next(types.Length)];
            (packet[12], packet[13]) = ((byte)(type >> 8), (byte)type);
            Assert.NotEmpty(PacketSummary.Of(packet.AsSpan(0, random.Next(packet.Length + 1))));
        }
    }
}
