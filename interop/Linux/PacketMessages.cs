using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// Messages of a <see cref="NetdevSockets"/> that are received together: for each a <see cref="virtio_net_hdr"/>, two buffers of the caller's,
/// and control data. Receiving allocates nothing.
/// </summary>
public sealed unsafe class PacketMessages : IDisposable
{
    /// <summary>Messages received at once, at most.</summary>
    public const int Capacity = 16;

    internal const int ControlSize = 40; // one cmsghdr with a tpacket_auxdata, padded
    internal const uint TP_STATUS_VLAN_VALID = 0x10, TP_STATUS_VLAN_TPID_VALID = 0x40;

    private const int Parts = 3;
    private const ushort DefaultTagType = 0x8100;

    private readonly Message* _messages;
    private readonly mmsghdr* _headers;

    public PacketMessages()
    {
        _messages = (Message*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(Message));
        _headers = (mmsghdr*)NativeMemory.AllocZeroed(Capacity, (nuint)sizeof(mmsghdr));
        for (int i = 0; i < Capacity; i++)
        {
            Message* message = _messages + i;
            message->Header = new iovec { iov_base = &message->Vnet, iov_len = NetdevSockets.HeaderSize };
            _headers[i] = new mmsghdr { msg_iov = &message->Header, msg_iovlen = Parts, msg_control = &message->Control, msg_controllen = ControlSize };
        }
    }

    /// <summary>Where the next packet in this place is put.</summary>
    /// <param name="index">Of the message.</param>
    /// <param name="first">The first bytes.</param>
    /// <param name="firstLength">How many.</param>
    /// <param name="second">What does not fit there.</param>
    /// <param name="secondLength">How many.</param>
    public void SetBuffers(int index, void* first, uint firstLength, void* second, uint secondLength)
    {
        Message* message = _messages + index;
        message->First = new iovec { iov_base = first, iov_len = firstLength };
        message->Second = new iovec { iov_base = second, iov_len = secondLength };
    }

    /// <summary>Receives what is there, in the order of the places. Gives how many came, or -1 with an errno (<see cref="Libc.Errno"/>).</summary>
    /// <param name="fd">A packet socket.</param>
    /// <param name="count">How many places have buffers.</param>
    public int Receive(int fd, int count)
    {
        for (int i = 0; i < count; i++)
        {
            _headers[i].msg_controllen = ControlSize;
        }
        return Libc.recvmmsg(fd, _headers, (uint)count, NetdevSockets.MSG_DONTWAIT, null);
    }

    /// <summary>Bytes of a received packet, without its virtio-net header.</summary>
    public uint Length(int index) => Math.Max(_headers[index].msg_len, NetdevSockets.HeaderSize) - NetdevSockets.HeaderSize;

    /// <summary>Whether the packet is as it was sent: all of it fitted.</summary>
    public bool IsWhole(int index) => (_headers[index].msg_flags & NetdevSockets.MSG_TRUNC) == 0 && _headers[index].msg_len >= NetdevSockets.HeaderSize;

    /// <summary>What was left to be done with a received packet.</summary>
    public ref virtio_net_hdr Vnet(int index) => ref _messages[index].Vnet;

    /// <summary>The VLAN tag that the device took off a received packet. False when there was none.</summary>
    /// <param name="index">Of the message.</param>
    /// <param name="tag">Upper half: the type (0x8100, 0x88A8). Lower half: priority and VLAN. In host order.</param>
    public bool TryGetTag(int index, out uint tag)
    {
        tag = 0;
        ControlData* control = &_messages[index].Control;
        if (_headers[index].msg_controllen < (nuint)(sizeof(SeqPacketSocket.cmsghdr) + sizeof(tpacket_auxdata))
            || control->Header.cmsg_level != NetdevSockets.SOL_PACKET || control->Header.cmsg_type != NetdevSockets.PACKET_AUXDATA
            || (control->Data.tp_status & TP_STATUS_VLAN_VALID) == 0)
        {
            return false;
        }
        ushort type = (control->Data.tp_status & TP_STATUS_VLAN_TPID_VALID) != 0 ? control->Data.tp_vlan_tpid : DefaultTagType;
        tag = ((uint)type << 16) | control->Data.tp_vlan_tci;
        return true;
    }

    public void Dispose()
    {
        NativeMemory.Free(_messages);
        NativeMemory.Free(_headers);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Message
    {
        public virtio_net_hdr Vnet;
        public iovec Header, First, Second;
        public ControlData Control;
    }

    [StructLayout(LayoutKind.Sequential, Size = ControlSize)]
    private struct ControlData
    {
        public SeqPacketSocket.cmsghdr Header;
        public tpacket_auxdata Data;
    }

    /// <summary>struct tpacket_auxdata of packet(7); 20 bytes.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct tpacket_auxdata
    {
        public uint tp_status;
        public uint tp_len;
        public uint tp_snaplen;
        public ushort tp_mac;
        public ushort tp_net;
        public ushort tp_vlan_tci;
        public ushort tp_vlan_tpid;
    }
}
