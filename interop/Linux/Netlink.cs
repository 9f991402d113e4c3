using System.Net;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// Links, addresses, routes and neighbours of a network namespace, by rtnetlink(7): what <c>ip link</c>, <c>ip address</c>,
/// <c>ip route</c> and <c>ip neighbour</c> do. Each call is one request that the kernel has carried out when it returns;
/// the kernel's own explanation of a refusal is part of the exception's message. Changes need CAP_NET_ADMIN. Links are
/// named by index, which stays when they are renamed. Calls may come from any thread, one at a time.
/// </summary>
/// <remarks>An open object keeps its namespace alive (see <see cref="NetNs"/>): open, use, dispose.</remarks>
public sealed partial class Netlink : IDisposable
{
    private const byte AF_UNSPEC = 0;
    private const byte AF_INET = 2;
    private const byte AF_INET6 = 10;

    private readonly NetlinkSocket _socket;
    private readonly Lock _lock = new();

    private Netlink(NetlinkSocket socket)
    {
        _socket = socket;
    }

    /// <summary>Opens a client in a namespace, or in the calling thread's.</summary>
    public static Netlink Open(NetNs? ns = null) => new(NetlinkSocket.Open(ns, groups: 0, nonBlocking: false));

    public void Dispose() => _socket.Dispose();

    private void Request(NetlinkRequest request, Func<string> what, NetlinkSocket.Handler? handler = null)
    {
        lock (_lock)
            _socket.Request(request, what, handler);
    }

    private List<T> Dump<T>(Func<NetlinkRequest> request, string what, Action<List<T>, ushort, ReadOnlySpan<byte>> parse)
    {
        lock (_lock)
            return _socket.Dump(request, () => what, parse);
    }

    private static byte FamilyOf(IPAddress address) => FamilyOf(address.AddressFamily);

    private static byte FamilyOf(AddressFamily family) => family switch
    {
        AddressFamily.InterNetwork => AF_INET,
        AddressFamily.InterNetworkV6 => AF_INET6,
        AddressFamily.Unspecified => AF_UNSPEC,
        _ => throw new ArgumentException($"{family} is neither IPv4 nor IPv6"),
    };

    private static IPAddress? AddressOf(ReadOnlySpan<byte> bytes) => bytes.Length is 4 or 16 ? new IPAddress(bytes) : null;

    /// <summary>Splits a message into its fixed part and its attributes; false when it is too short for the former.</summary>
    private static bool Split<T>(ReadOnlySpan<byte> body, out T part, out NetlinkAttributes attributes)
        where T : unmanaged
    {
        int size = Unsafe.SizeOf<T>();
        bool whole = body.Length >= size;
        part = whole ? MemoryMarshal.Read<T>(body) : default;
        attributes = new NetlinkAttributes(whole ? body[size..] : []);
        return whole;
    }
}
