using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Linux;

/// <summary>
/// One rtnetlink message being written: header, a fixed part that depends on the type, attributes; netlink(7),
/// rtnetlink(7). Everything has the host's byte order and begins on a 4-byte boundary.
/// </summary>
internal sealed class NetlinkRequest
{
    internal const ushort NLM_F_REQUEST = 0x1;
    internal const ushort NLM_F_ACK = 0x4;
    internal const ushort NLM_F_DUMP = 0x300;
    internal const ushort NLM_F_REPLACE = 0x100;
    internal const ushort NLM_F_EXCL = 0x200;
    internal const ushort NLM_F_CREATE = 0x400;

    internal const ushort RTM_NEWLINK = 16;
    internal const ushort RTM_DELLINK = 17;
    internal const ushort RTM_GETLINK = 18;
    internal const ushort RTM_SETLINK = 19;
    internal const ushort RTM_NEWADDR = 20;
    internal const ushort RTM_DELADDR = 21;
    internal const ushort RTM_GETADDR = 22;
    internal const ushort RTM_NEWROUTE = 24;
    internal const ushort RTM_DELROUTE = 25;
    internal const ushort RTM_GETROUTE = 26;
    internal const ushort RTM_NEWNEIGH = 28;
    internal const ushort RTM_DELNEIGH = 29;
    internal const ushort RTM_GETNEIGH = 30;

    private readonly ArrayBufferWriter<byte> _buffer = new(256);

    internal NetlinkRequest(ushort type, ushort flags)
    {
        Type = type;
        Flags = (ushort)(flags | NLM_F_REQUEST | NLM_F_ACK);
        _buffer.Advance(Unsafe.SizeOf<nlmsghdr>());
    }

    internal ushort Type { get; }

    internal ushort Flags { get; }

    /// <summary>Appends the fixed part; its size is a multiple of 4.</summary>
    internal NetlinkRequest Fixed<T>(in T part)
        where T : unmanaged
    {
        MemoryMarshal.Write(_buffer.GetSpan(Unsafe.SizeOf<T>()), in part);
        _buffer.Advance(Unsafe.SizeOf<T>());
        return this;
    }

    internal NetlinkRequest Bytes(ushort type, ReadOnlySpan<byte> value)
    {
        int length = 4 + value.Length;
        Span<byte> space = _buffer.GetSpan(length + 3)[..((length + 3) & ~3)];
        space.Clear();
        MemoryMarshal.Write(space, (ushort)length);
        MemoryMarshal.Write(space[2..], type);
        value.CopyTo(space[4..]);
        _buffer.Advance(space.Length);
        return this;
    }

    internal NetlinkRequest UInt32(ushort type, uint value) =>
        Bytes(type, MemoryMarshal.AsBytes(new ReadOnlySpan<uint>(in value)));

    internal NetlinkRequest String(ushort type, string value) => Bytes(type, [.. Encoding.UTF8.GetBytes(value), 0]);

    /// <summary>An attribute whose value is what <paramref name="inner"/> writes.</summary>
    internal NetlinkRequest Nest(ushort type, Action<NetlinkRequest> inner)
    {
        int start = _buffer.WrittenCount;
        Bytes(type, []);
        inner(this);
        MemoryMarshal.Write(Written()[start..], (ushort)(_buffer.WrittenCount - start));
        return this;
    }

    /// <summary>The finished message.</summary>
    internal ReadOnlySpan<byte> Finish(uint sequence)
    {
        MemoryMarshal.Write(Written(), new nlmsghdr
        {
            nlmsg_len = (uint)_buffer.WrittenCount,
            nlmsg_type = Type,
            nlmsg_flags = Flags,
            nlmsg_seq = sequence,
        });
        return _buffer.WrittenSpan;
    }

    private Span<byte> Written() => MemoryMarshal.AsMemory(_buffer.WrittenMemory).Span;
}

/// <summary>Walks the attributes of a message: <c>while (reader.Next()) switch (reader.Type) ...</c></summary>
internal ref struct NetlinkAttributes(ReadOnlySpan<byte> bytes)
{
    private ReadOnlySpan<byte> _rest = bytes;

    internal ushort Type { get; private set; }

    internal ReadOnlySpan<byte> Value { get; private set; }

    internal readonly uint UInt32 => Value.Length >= 4 ? MemoryMarshal.Read<uint>(Value) : 0;

    internal readonly string String => Encoding.UTF8.GetString(Value.TrimEnd((byte)0));

    internal bool Next()
    {
        if (_rest.Length < 4)
            return false;
        int length = MemoryMarshal.Read<ushort>(_rest);
        if (length < 4 || length > _rest.Length)
            return false;
        // The two high bits say that the value is nested, or in network byte order.
        Type = (ushort)(MemoryMarshal.Read<ushort>(_rest[2..]) & 0x3fff);
        Value = _rest[4..length];
        _rest = _rest[Math.Min((length + 3) & ~3, _rest.Length)..];
        return true;
    }
}

#pragma warning disable CS8981 // C's names
[StructLayout(LayoutKind.Sequential)]
internal struct nlmsghdr
{
    public uint nlmsg_len;
    public ushort nlmsg_type;
    public ushort nlmsg_flags;
    public uint nlmsg_seq;
    public uint nlmsg_pid;
}

[StructLayout(LayoutKind.Sequential)]
internal struct ifinfomsg
{
    public byte ifi_family;
    private byte _pad;
    public ushort ifi_type;
    public int ifi_index;
    public uint ifi_flags;
    public uint ifi_change;
}

[StructLayout(LayoutKind.Sequential)]
internal struct ifaddrmsg
{
    public byte ifa_family;
    public byte ifa_prefixlen;
    public byte ifa_flags;
    public byte ifa_scope;
    public int ifa_index;
}

[StructLayout(LayoutKind.Sequential)]
internal struct rtmsg
{
    public byte rtm_family;
    public byte rtm_dst_len;
    public byte rtm_src_len;
    public byte rtm_tos;
    public byte rtm_table;
    public byte rtm_protocol;
    public byte rtm_scope;
    public byte rtm_type;
    public uint rtm_flags;
}

[StructLayout(LayoutKind.Sequential)]
internal struct rtnexthop
{
    public ushort rtnh_len;
    public byte rtnh_flags;
    public byte rtnh_hops;
    public int rtnh_ifindex;
}

[StructLayout(LayoutKind.Sequential)]
internal struct ndmsg
{
    public byte ndm_family;
    private byte _pad1;
    private ushort _pad2;
    public int ndm_ifindex;
    public ushort ndm_state;
    public byte ndm_flags;
    public byte ndm_type;
}
#pragma warning restore CS8981
