using Dataplane.Packets;

namespace Dataplane.UnitTests.Packets;

public sealed class MacAddressTests
{
    [Theory]
    [InlineData("00:00:00:00:00:00", 0x0000_0000_0000ul)]
    [InlineData("02:42:ac:12:00:02", 0x0200_12AC_4202ul)] // the first on the wire is the lowest byte
    [InlineData("02-42-AC-12-00-02", 0x0200_12AC_4202ul)]
    [InlineData("02:42:Ac:12:00:02", 0x0200_12AC_4202ul)]
    [InlineData("01:80:c2:00:00:0e", 0x0E00_00C2_8001ul)]
    [InlineData("FF:FF:FF:FF:FF:FF", 0xFFFF_FFFF_FFFFul)]
    [InlineData("12:34:56:78:9a:bc", 0xBC9A_7856_3412ul)]
    public void Is_read(string text, ulong value)
    {
        Assert.True(MacAddress.TryParse(text, out MacAddress mac));
        Assert.Equal(value, mac.Value);
        Assert.Equal(mac, MacAddress.Parse(text));
        // Written in one way only, whichever way it was read.
        Assert.Equal(text.Replace('-', ':').ToLowerInvariant(), mac.ToString());
    }

    [Theory]
    [InlineData(null)]
    [InlineData("")]
    [InlineData("02:42:ac:12:00")]
    [InlineData("02:42:ac:12:00:02:")]
    [InlineData("02:42:ac:12:00:02:03")]
    [InlineData("02:42:ac:12:00:2")]
    [InlineData("2:42:ac:12:00:02")]
    [InlineData("02:42:ac:12:00:0g")]
    [InlineData("02:42:ac:12:00: 2")]
    [InlineData("02:42:ac:12:00:+2")]
    [InlineData("02:42:ac:12:00:-2")]
    [InlineData("02:42:ac:12:00:0\0")]
    [InlineData(" 2:42:ac:12:00:02")]
    [InlineData("02:42:ac:12:00:02 ")]
    [InlineData("02:42-ac:12-00:02")]
    [InlineData("02-42-ac-12-00:02")]
    [InlineData("02.42.ac.12.00.02")]
    [InlineData("02 42 ac 12 00 02")]
    [InlineData("0242.ac12.0002")]
    [InlineData("0242ac120002")]
    [InlineData("02::ac:12:00:0:02")]
    [InlineData("0x:42:ac:12:00:02")]
    [InlineData("０2:42:ac:12:00:02")] // a digit, but not one of ASCII
    public void Is_no_address(string? text)
    {
        Assert.False(MacAddress.TryParse(text, out MacAddress mac));
        Assert.Equal(0ul, mac.Value);
    }

    [Fact]
    public void The_error_shows_what_was_read_and_what_would_be_right()
    {
        var e = Assert.Throws<FormatException>(() => MacAddress.Parse("02:42:ac"));
        Assert.Equal("\"02:42:ac\" is not a MAC address (02:42:ac:12:00:02)", e.Message);
    }

    [Fact]
    public void Bytes_are_in_the_order_of_the_wire()
    {
        byte[] wire = [0x02, 0x42, 0xAC, 0x12, 0x00, 0x02];
        MacAddress mac = MacAddress.FromBytes(wire);
        Assert.Equal("02:42:ac:12:00:02", mac.ToString());
        Assert.Equal(wire, mac.ToBytes());
        // One unaligned load of a header gives the same number, but for the two bytes behind it.
        byte[] header = [.. wire, 0xEE, 0xEE];
        Assert.Equal(mac.Value, BitConverter.ToUInt64(header) & MacAddress.Mask);

        byte[] longer = [9, 9, 9, 9, 9, 9, 9, 9];
        mac.CopyTo(longer.AsSpan(1));
        Assert.Equal([9, .. wire, 9], longer);
    }

    [Fact]
    public void Every_address_survives_being_written_and_read()
    {
        var random = new Random(1);
        for (int i = 0; i < 10_000; i++)
        {
            var mac = new MacAddress((ulong)random.NextInt64() & MacAddress.Mask);
            Assert.Equal(mac, MacAddress.Parse(mac.ToString()));
            Assert.Equal(mac, MacAddress.FromBytes(mac.ToBytes()));
        }
    }

    [Theory]
    [InlineData("00:00:00:00:00:00", true, false, false, false)]
    [InlineData("02:00:00:00:00:00", false, false, false, false)]
    [InlineData("01:00:00:00:00:00", false, true, false, false)]
    [InlineData("ff:ff:ff:ff:ff:ff", false, true, true, false)]
    [InlineData("ff:ff:ff:ff:ff:fe", false, true, false, false)]
    [InlineData("fe:ff:ff:ff:ff:ff", false, false, false, false)]
    [InlineData("33:33:00:00:00:01", false, true, false, false)]
    [InlineData("01:80:c2:00:00:00", false, true, false, true)]
    [InlineData("01:80:c2:00:00:01", false, true, false, true)]
    [InlineData("01:80:c2:00:00:0e", false, true, false, true)]
    [InlineData("01:80:c2:00:00:0f", false, true, false, true)]
    [InlineData("01:80:c2:00:00:10", false, true, false, false)]
    [InlineData("01:80:c2:00:00:20", false, true, false, false)]
    [InlineData("01:80:c2:00:01:00", false, true, false, false)]
    [InlineData("01:80:c2:01:00:00", false, true, false, false)]
    [InlineData("00:80:c2:00:00:00", false, false, false, false)]
    [InlineData("03:80:c2:00:00:00", false, true, false, false)]
    public void Kinds(string text, bool zero, bool group, bool broadcast, bool linkLocal)
    {
        MacAddress mac = MacAddress.Parse(text);
        Assert.Equal((zero, group, broadcast, linkLocal), (mac.IsZero, mac.IsGroup, mac.IsBroadcast, MacAddress.IsLinkLocal(mac.Value)));
        Assert.Equal(text == "01:80:c2:00:00:00", mac.Value == MacAddress.BridgeGroup);
    }
}
