using System.Buffers;
using System.Buffers.Binary;
using System.Text;

namespace Dataplane.Control.Observation;

/// <summary>
/// Writes blocks of the pcapng format (draft-ietf-opsawg-pcapng), little-endian, times in nanoseconds. Interfaces may be
/// described at any time before their first packet.
/// </summary>
public sealed class PcapNgWriter(IBufferWriter<byte> output)
{
    private const uint SectionHeader = 0x0A0D_0D0A, InterfaceDescription = 1, EnhancedPacket = 6;
    private const uint ByteOrderMagic = 0x1A2B_3C4D;
    private const ushort Ethernet = 1;

    // Options, by block (sections 4.1, 4.2, 4.3 of the draft); 1 is a comment everywhere.
    private const ushort EndOfOptions = 0, Comment = 1, UserApplication = 4;
    private const ushort InterfaceName = 2, InterfaceText = 3, TimeResolution = 9;
    private const ushort PacketFlags = 2, DropCount = 4;

    private readonly ArrayBufferWriter<byte> _block = new(4096);
    private uint _interfaces;

    /// <summary>What a packet's flags say of its direction.</summary>
    public enum Direction : uint
    {
        Unknown = 0,
        Inbound = 1,
        Outbound = 2,
    }

    /// <summary>Must come first, once.</summary>
    public void Begin(string application)
    {
        Write32(ByteOrderMagic);
        Write16(1);
        Write16(0);
        Write64(ulong.MaxValue); // length of the section: not known
        Option(UserApplication, application);
        End(SectionHeader, withOptions: true);
    }

    /// <summary>Describes an interface. Gives its number, for <see cref="Packet"/>.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="text">What it is, or empty.</param>
    /// <param name="snapLength">Most bytes that are kept of a packet; 0 for no limit.</param>
    public uint Interface(string name, string text, uint snapLength)
    {
        Write16(Ethernet);
        Write16(0);
        Write32(snapLength);
        Option(InterfaceName, name);
        if (text.Length > 0)
        {
            Option(InterfaceText, text);
        }
        Option(TimeResolution, [9]); // 10^-9 s
        End(InterfaceDescription, withOptions: true);
        return _interfaces++;
    }

    /// <summary>A packet.</summary>
    /// <param name="number">Of the interface.</param>
    /// <param name="time">Nanoseconds since 1970.</param>
    /// <param name="bytes">What was kept of it.</param>
    /// <param name="length">Its whole length.</param>
    /// <param name="direction">Seen from the switch.</param>
    /// <param name="comment">For people, or empty.</param>
    /// <param name="lost">Packets lost between the one before and this one.</param>
    public void Packet(uint number, ulong time, ReadOnlySpan<byte> bytes, uint length, Direction direction, string comment = "", ulong lost = 0)
    {
        Write32(number);
        Write32((uint)(time >> 32));
        Write32((uint)time);
        Write32((uint)bytes.Length);
        Write32(length);
        _block.Write(bytes);
        Pad();
        if (direction != Direction.Unknown)
        {
            Span<byte> flags = stackalloc byte[4];
            BinaryPrimitives.WriteUInt32LittleEndian(flags, (uint)direction);
            Option(PacketFlags, flags);
        }
        if (comment.Length > 0)
        {
            Option(Comment, comment);
        }
        if (lost > 0)
        {
            Span<byte> count = stackalloc byte[8];
            BinaryPrimitives.WriteUInt64LittleEndian(count, lost);
            Option(DropCount, count);
        }
        End(EnhancedPacket, withOptions: direction != Direction.Unknown || comment.Length > 0 || lost > 0);
    }

    private void Option(ushort code, string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Option(code, bytes.AsSpan(0, Math.Min(bytes.Length, ushort.MaxValue)));
    }

    private void Option(ushort code, ReadOnlySpan<byte> value)
    {
        Write16(code);
        Write16((ushort)value.Length);
        _block.Write(value);
        Pad();
    }

    private void End(uint type, bool withOptions)
    {
        if (withOptions)
        {
            Write16(EndOfOptions);
            Write16(0);
        }
        uint total = (uint)_block.WrittenCount + 12;
        Span<byte> head = output.GetSpan(8);
        BinaryPrimitives.WriteUInt32LittleEndian(head, type);
        BinaryPrimitives.WriteUInt32LittleEndian(head[4..], total);
        output.Advance(8);
        output.Write(_block.WrittenSpan);
        BinaryPrimitives.WriteUInt32LittleEndian(output.GetSpan(4), total);
        output.Advance(4);
        _block.ResetWrittenCount();
    }

    private void Pad()
    {
        int missing = -_block.WrittenCount & 3;
        _block.GetSpan(4)[..missing].Clear();
        _block.Advance(missing);
    }

    private void Write16(ushort value)
    {
        BinaryPrimitives.WriteUInt16LittleEndian(_block.GetSpan(2), value);
        _block.Advance(2);
    }

    private void Write32(uint value)
    {
        BinaryPrimitives.WriteUInt32LittleEndian(_block.GetSpan(4), value);
        _block.Advance(4);
    }

    private void Write64(ulong value)
    {
        BinaryPrimitives.WriteUInt64LittleEndian(_block.GetSpan(8), value);
        _block.Advance(8);
    }
}
