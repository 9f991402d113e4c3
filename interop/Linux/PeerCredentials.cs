using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// Who is at the other end of a unix socket, as the kernel saw it when the connection was made (SO_PEERCRED, unix(7)).
/// The ids are those of the reader's pid and user namespaces; Pid is 0 when the peer is not visible from here.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct PeerCredentials(int Pid, uint Uid, uint Gid);
