using System.Net.Sockets;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Api.Access;

/// <summary>
/// Callers on the unix socket: the kernel says who made the connection (SO_PEERCRED, SO_PEERGROUPS; unix(7)). Root, this
/// process's own user and members of the group given may do everything, everybody else nothing. The socket's permissions
/// say the same; this also holds for who can pass by them, and when somebody changed them.
/// </summary>
internal static class SocketCaller
{
    private const int SOL_SOCKET = 1, SO_PEERCRED = 17, SO_PEERGROUPS = 59;

    /// <summary>Most supplementary groups of a process (NGROUPS_MAX).</summary>
    private const int MostGroups = 65_536;

    /// <summary>The caller at the other end of a socket.</summary>
    public static Caller Of(Socket socket, uint? group)
    {
        Span<PeerCredentials> peer = stackalloc PeerCredentials[1];
        socket.GetRawSocketOption(SOL_SOCKET, SO_PEERCRED, MemoryMarshal.AsBytes(peer));
        return Of(peer[0], group, () => Groups(socket));
    }

    /// <summary>The rule itself.</summary>
    /// <param name="peer">The process at the other end.</param>
    /// <param name="group">The group that may use the API, if there is one.</param>
    /// <param name="groups">Reads the supplementary groups of the process.</param>
    public static Caller Of(PeerCredentials peer, uint? group, Func<IEnumerable<uint>> groups)
    {
        string name = $"user {peer.Uid}, process {peer.Pid}";
        bool welcome = peer.Uid == 0 || peer.Uid == LinuxProcess.EffectiveUserId
            || (group is { } g && (peer.Gid == g || groups().Contains(g)));
        return welcome
            ? new Caller(name, Role.ReadWrite, "")
            : new Caller(name, Role.None, $"user {peer.Uid} is neither root nor {(group is null ? "the daemon's own user" : $"a member of group {group}")}");
    }

    private static uint[] Groups(Socket socket)
    {
        byte[] bytes = new byte[MostGroups * sizeof(uint)];
        int length = socket.GetRawSocketOption(SOL_SOCKET, SO_PEERGROUPS, bytes);
        return [.. Enumerable.Range(0, length / sizeof(uint)).Select(i => BitConverter.ToUInt32(bytes, i * sizeof(uint)))];
    }
}
