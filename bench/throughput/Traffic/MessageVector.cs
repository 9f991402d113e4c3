using System.Runtime.InteropServices;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>Many messages by one call: sendmmsg(2), recvmmsg(2).</summary>
internal static unsafe partial class MessageVector
{
    public const int MSG_DONTWAIT = 0x40;

    /// <summary>struct mmsghdr: a struct msghdr of 56 bytes, and what was sent or received of it.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 64)]
    public struct Message
    {
        [FieldOffset(0)] public void* Name;
        [FieldOffset(8)] public uint NameLength;
        [FieldOffset(16)] public IoVector* Vectors;
        [FieldOffset(24)] public nuint VectorCount;
        [FieldOffset(32)] public void* Control;
        [FieldOffset(40)] public nuint ControlLength;
        [FieldOffset(48)] public int Flags;
        [FieldOffset(56)] public uint Length;
    }

    /// <summary>struct iovec</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct IoVector
    {
        public void* Base;
        public nuint Length;
    }

    /// <summary>Sends. Gives how many messages were taken, below 0 when none was.</summary>
    public static int Send(int fd, Message* messages, int count) => sendmmsg(fd, messages, (uint)count, 0);

    /// <summary>Receives what is there. Gives how many messages, below 0 when there was none.</summary>
    public static int Receive(int fd, Message* messages, int count) => recvmmsg(fd, messages, (uint)count, MSG_DONTWAIT, null);

    [LibraryImport("libc")]
    private static partial int sendmmsg(int fd, Message* messages, uint count, int flags);

    [LibraryImport("libc")]
    private static partial int recvmmsg(int fd, Message* messages, uint count, int flags, void* timeout);
}
