using Dataplane.Packets;

namespace Dataplane.UnitTests.Packets;

/// <summary>The hash of a flow, of packets as they come and in other frames.</summary>
public sealed unsafe class FlowHashTests
{
    private const int Ethernet = 14;

    /// <summary>What most packets are goes another way than all others, and comes to the same.</summary>
    [Theory]
    [InlineData(17, 0x4000, 28)]
    [InlineData(17, 0, 24)]
    [InlineData(6, 0, 40)]
    [InlineData(132, 0, 40)]
    [InlineData(1, 0, 28)] // no ports
    [InlineData(17, 0x2000, 28)] // a fragment
    [InlineData(17, 0x0010, 28)] // a later one
    [InlineData(17, 0, 23)] // no room for ports
    public void AnUntaggedFrameHasTheHashOfItsPacketAndOfItInAVlan(byte protocol, ushort fragment, int length)
    {
        byte[] packet = new byte[length];
        new Random(protocol + fragment + length).NextBytes(packet);
        (packet[0], packet[1], packet[6], packet[7], packet[9]) = (0x45, 0x2E, (byte)(fragment >> 8), (byte)fragment, protocol);
        byte[] addresses = [2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        byte[] frame = [.. addresses, 8, 0, .. packet], tagged = [.. addresses, 0x81, 0, 0, 10, 8, 0, .. packet];
        uint expected;
        fixed (byte* ip = packet)
        {
            expected = FlowHash.Of4(ip, length);
        }
        Assert.Equal((expected, (byte)0x2E), Of(frame));
        Assert.Equal((expected, (byte)0x2E), Of(tagged));
        Assert.Equal(frame.Length, Ethernet + length);
    }

    private static (uint Hash, byte Tos) Of(byte[] frame)
    {
        fixed (byte* data = frame)
        {
            return (FlowHash.OfFrame(data, frame.Length, out byte tos), tos);
        }
    }
}
