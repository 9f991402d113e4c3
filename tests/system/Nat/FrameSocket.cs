using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Nat;

/// <summary>The frames of a device, sent as they are, and those that come in, whomever they are for; packet(7).</summary>
public sealed unsafe partial class FrameSocket : IDisposable
{
    private const int AF_PACKET = 17, SOCK_RAW = 3, SOCK_CLOEXEC = 0x80000, SOCK_NONBLOCK = 0x800;
    private const int SOL_PACKET = 263, PACKET_IGNORE_OUTGOING = 23;
    private const ushort ETH_P_ALL = 3;

    private readonly int _fd;
    private readonly byte[] _buffer = new byte[1 << 16];

    public FrameSocket(Namespace ns, string device)
    {
        using NetNs open = NetNs.OpenNamed(ns.Name);
        _fd = open.Run(() =>
        {
            // Without a protocol it receives nothing yet: what other devices have is not for it.
            int fd = Check(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, 0), "open a packet socket");
            int one = 1;
            Check(setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(int)), "set PACKET_IGNORE_OUTGOING");
            byte* address = stackalloc byte[20];
            new Span<byte>(address, 20).Clear();
            BinaryPrimitives.WriteUInt16LittleEndian(new Span<byte>(address, 2), AF_PACKET);
            BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(address + 2, 2), ETH_P_ALL);
            BinaryPrimitives.WriteInt32LittleEndian(new Span<byte>(address + 4, 4), (int)if_nametoindex(device));
            Check(bind(fd, address, 20), $"bind a packet socket to {device}");
            return fd;
        });
    }

    public void Send(byte[] frame)
    {
        fixed (byte* bytes = frame)
        {
            Check((int)Libc.write(_fd, bytes, (nuint)frame.Length), $"send a frame of {frame.Length} bytes");
        }
    }

    /// <summary>The next frame that has come in; null when there is none.</summary>
    public byte[]? TryReceive()
    {
        fixed (byte* bytes = _buffer)
        {
            nint length = Libc.read(_fd, bytes, (nuint)_buffer.Length);
            return length < 0 ? null : _buffer[..(int)length];
        }
    }

    public void Dispose() => Libc.close(_fd);

    private static int Check(int result, string what) =>
        result >= 0 ? result : throw new LinuxException(Marshal.GetLastPInvokeError(), what);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int fd, int level, int name, void* value, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint length);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial uint if_nametoindex(string name);
}
