using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using Dataplane.Control.Observation;

namespace Dataplane.UnitTests.Observation;

/// <summary>Blocks as draft-ietf-opsawg-pcapng draws them.</summary>
public sealed class PcapNgWriterTests
{
    private readonly ArrayBufferWriter<byte> _output = new();
    private readonly PcapNgWriter _writer;

    public PcapNgWriterTests()
    {
        _writer = new PcapNgWriter(_output);
        _writer.Begin("test");
    }

    [Fact]
    public void Every_block_has_its_length_at_both_ends_and_is_a_multiple_of_4()
    {
        uint web = _writer.Interface("web", "network blue", 0), long9 = _writer.Interface("a-port-€", "", 64);
        for (int length = 0; length < 9; length++)
        {
            _writer.Packet(web, 1, new byte[length], 100, PcapNgWriter.Direction.Inbound, new string('x', length), (ulong)length);
            _writer.Packet(long9, 1, new byte[length], 100, PcapNgWriter.Direction.Unknown);
        }
        List<(uint Type, byte[] Body)> blocks = Blocks();
        Assert.Equal([0x0A0D0D0Au, 1, 1, .. Enumerable.Repeat(6u, 18)], blocks.Select(b => b.Type));
        Assert.Equal((0u, 1u), (web, long9));
    }

    [Fact]
    public void The_section_names_byte_order_version_and_program()
    {
        byte[] body = Blocks()[0].Body;
        Assert.Equal(0x1A2B3C4Du, BinaryPrimitives.ReadUInt32LittleEndian(body));
        Assert.Equal((1, 0), (BinaryPrimitives.ReadUInt16LittleEndian(body.AsSpan(4)), BinaryPrimitives.ReadUInt16LittleEndian(body.AsSpan(6))));
        Assert.Equal(ulong.MaxValue, BinaryPrimitives.ReadUInt64LittleEndian(body.AsSpan(8)));
        Assert.Equal("test", Encoding.UTF8.GetString(Option(body, 16, 4)!));
    }

    [Fact]
    public void An_interface_has_its_name_and_a_resolution_of_nanoseconds()
    {
        _writer.Interface("web", "network blue", 64);
        byte[] body = Blocks()[1].Body;
        Assert.Equal((1, 64u), (BinaryPrimitives.ReadUInt16LittleEndian(body), BinaryPrimitives.ReadUInt32LittleEndian(body.AsSpan(4))));
        Assert.Equal(("web", "network blue"), (Encoding.UTF8.GetString(Option(body, 8, 2)!), Encoding.UTF8.GetString(Option(body, 8, 3)!)));
        Assert.Equal([9], Option(body, 8, 9)!);
    }

    [Fact]
    public void A_packet_has_time_lengths_direction_comment_and_loss()
    {
        uint web = _writer.Interface("web", "", 0);
        _writer.Packet(web, 0x1122_3344_5566_7788, [1, 2, 3, 4, 5], 1500, PcapNgWriter.Direction.Outbound, "dropped: isolated", lost: 7);
        byte[] body = Blocks()[2].Body;
        uint[] words = [.. Enumerable.Range(0, 5).Select(i => BinaryPrimitives.ReadUInt32LittleEndian(body.AsSpan(i * 4)))];
        Assert.Equal([web, 0x1122_3344, 0x5566_7788, 5, 1500], words);
        Assert.Equal([1, 2, 3, 4, 5, 0, 0, 0], body[20..28]);
        Assert.Equal([2, 0, 0, 0], Option(body, 28, 2)!);
        Assert.Equal("dropped: isolated", Encoding.UTF8.GetString(Option(body, 28, 1)!));
        Assert.Equal(7ul, BinaryPrimitives.ReadUInt64LittleEndian(Option(body, 28, 4)));
    }

    private List<(uint Type, byte[] Body)> Blocks()
    {
        var blocks = new List<(uint, byte[])>();
        for (ReadOnlySpan<byte> rest = _output.WrittenSpan; rest.Length > 0;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(rest[4..]);
            Assert.Equal(0, length % 4);
            Assert.Equal(length, BinaryPrimitives.ReadInt32LittleEndian(rest[(length - 4)..]));
            blocks.Add((BinaryPrimitives.ReadUInt32LittleEndian(rest), rest[8..(length - 4)].ToArray()));
            rest = rest[length..];
        }
        return blocks;
    }

    /// <summary>The value of an option, of those that begin at an offset of a block's body.</summary>
    private static byte[]? Option(byte[] body, int at, int code)
    {
        while (BinaryPrimitives.ReadUInt16LittleEndian(body.AsSpan(at)) is not 0 and var found)
        {
            int length = BinaryPrimitives.ReadUInt16LittleEndian(body.AsSpan(at + 2));
            if (found == code)
            {
                return body[(at + 4)..(at + 4 + length)];
            }
            at += 4 + ((length + 3) & ~3);
        }
        return null;
    }
}
