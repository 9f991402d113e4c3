using System.Buffers.Binary;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>Sends and receives frames as they are at a device of a network namespace; packet(7).</summary>
public sealed unsafe partial class PacketSocket : IDisposable
{
    private const int AF_PACKET = 17, SOCK_RAW = 3, SOCK_CLOEXEC = 0x80000, SOL_SOCKET = 1, SO_RCVTIMEO = 20, SO_RCVBUFFORCE = 33, SOL_PACKET = 263, PACKET_QDISC_BYPASS = 20;

    /// <summary>Frames wait here while nobody reads: none is to be lost for that.</summary>
    private const int ReceiveBuffer = 64 * 1024 * 1024;

    private readonly int _fd;

    /// <param name="ns">The namespace.</param>
    /// <param name="device">A device in it.</param>
    /// <param name="etherType">Which frames to receive; 0 for none.</param>
    /// <param name="bypassesQueue">What is sent goes to the device at once.</param>
    public PacketSocket(NetNs ns, string device, ushort etherType, bool bypassesQueue = false)
    {
        _fd = ns.Run(() =>
        {
            int protocol = BinaryPrimitives.ReverseEndianness(etherType);
            int fd = Check(socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, protocol), "open a packet socket");
            byte* address = stackalloc byte[20];
            new Span<byte>(address, 20).Clear();
            BinaryPrimitives.WriteUInt16LittleEndian(new Span<byte>(address, 2), AF_PACKET);
            BinaryPrimitives.WriteUInt16BigEndian(new Span<byte>(address + 2, 2), etherType);
            BinaryPrimitives.WriteInt32LittleEndian(new Span<byte>(address + 4, 4), (int)if_nametoindex(device));
            Check(bind(fd, address, 20), $"bind a packet socket to {device}");
            int size = ReceiveBuffer;
            Check(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(int)), "enlarge the buffer of a packet socket");
            // Seconds and microseconds: a reader looks every tenth of a second whether it is to end.
            long* timeout = stackalloc long[2] { 0, 100_000 };
            Check(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, timeout, 16), "set the time-out of a packet socket");
            int one = 1;
            if (bypassesQueue)
            {
                Check(setsockopt(fd, SOL_PACKET, PACKET_QDISC_BYPASS, &one, sizeof(int)), "pass by the queue of a device");
            }
            return fd;
        });
    }

    /// <summary>For <see cref="MessageVector"/>.</summary>
    public int Descriptor => _fd;

    /// <summary>Sends a frame. False when the device's queue has no room.</summary>
    public bool TrySend(ReadOnlySpan<byte> frame)
    {
        fixed (byte* bytes = frame)
        {
            return Libc.write(_fd, bytes, (nuint)frame.Length) == frame.Length;
        }
    }

    /// <summary>Receives a frame. Gives its length; 0 when none came for a while.</summary>
    public int Receive(Span<byte> frame)
    {
        fixed (byte* bytes = frame)
        {
            return (int)Math.Max(0, Libc.read(_fd, bytes, (nuint)frame.Length));
        }
    }

    public void Dispose() => _ = Libc.close(_fd);

    private static int Check(int result, string what) => result >= 0 ? result : throw new BenchException($"cannot {what}: {Marshal.GetLastPInvokeErrorMessage()}");

    [LibraryImport("libc", SetLastError = true)]
    private static partial int socket(int domain, int type, int protocol);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int bind(int fd, byte* address, uint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsockopt(int fd, int level, int name, void* value, uint length);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial uint if_nametoindex(string name);
}
