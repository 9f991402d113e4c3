using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>The frames of a device of a namespace, sent as they are, and those that come in, whomever they are for; packet(7).</summary>
public sealed unsafe partial class RawSocket : IDisposable
{
    private const int AF_PACKET = 17, SOCK_RAW = 3, SOCK_CLOEXEC = 0x80000;
    private const int SOL_PACKET = 263, PACKET_IGNORE_OUTGOING = 23, MSG_DONTWAIT = 0x40;
    private const ushort ETH_P_ALL = 3;

    /// <summary>Frames that a device's queue takes at once with room to spare.</summary>
    private const int BatchSize = 64;

    private readonly int _fd;
    private readonly byte[] _buffer = new byte[1 << 16];

    /// <param name="ns">Where the device is.</param>
    /// <param name="device">The device.</param>
    /// <param name="receives">Whether what comes in is kept for <see cref="TryReceive"/>.</param>
    internal RawSocket(Namespace ns, string device, bool receives = false)
    {
        using NetNs open = NetNs.OpenNamed(ns.Name);
        _fd = open.Run(() =>
        {
            int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
            if (fd < 0)
            {
                throw new LinuxException(Marshal.GetLastPInvokeError(), "open a packet socket");
            }
            int one = 1;
            if (receives && setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(int)) < 0)
            {
                throw new LinuxException(Marshal.GetLastPInvokeError(), "receive only what comes in by a packet socket");
            }
            byte* address = stackalloc byte[20];
            new Span<byte>(address, 20).Clear();
            BinaryPrimitives.WriteUInt16LittleEndian(new Span<byte>(address, 2), AF_PACKET);
            // Without a protocol it receives nothing.
            BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(address + 2, 2), receives ? ETH_P_ALL : (ushort)0);
            BinaryPrimitives.WriteInt32LittleEndian(new Span<byte>(address + 4, 4), (int)if_nametoindex(device));
            if (bind(fd, address, 20) < 0)
            {
                throw new LinuxException(Marshal.GetLastPInvokeError(), $"bind a packet socket to {device}");
            }
            return fd;
        });
    }

    /// <summary>Sends one frame.</summary>
    public void Send(byte[] frame)
    {
        fixed (byte* bytes = frame)
        {
            if (Libc.write(_fd, bytes, (nuint)frame.Length) != frame.Length)
            {
                throw new LinuxException(Libc.Errno(), $"send a frame of {frame.Length} bytes");
            }
        }
    }

    /// <summary>The next frame that has come in; null when there is none.</summary>
    public byte[]? TryReceive()
    {
        fixed (byte* bytes = _buffer)
        {
            nint length = recv(_fd, bytes, (nuint)_buffer.Length, MSG_DONTWAIT);
            return length < 0 ? null : _buffer[..(int)length];
        }
    }

    /// <summary>Sends many frames, never more at a time than the device's queue holds.</summary>
    /// <param name="frames">The frames.</param>
    /// <param name="received">How many packets the switch has received from this device.</param>
    public void SendAll(IEnumerable<byte[]> frames, Func<ulong> received)
    {
        foreach (byte[][] batch in frames.Chunk(BatchSize))
        {
            ulong before = received();
            foreach (byte[] frame in batch)
            {
                Send(frame);
            }
            Until.True(() => received() >= before + (ulong)batch.Length, "the switch has received the frames");
        }
    }

    public void Dispose() => Libc.close(_fd);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int fd, int level, int name, void* value, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint recv(int fd, void* buffer, nuint length, int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial uint if_nametoindex(string name);
}
