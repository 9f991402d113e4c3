using System.Runtime.InteropServices;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>Many messages by one call: sendmmsg(2), recvmmsg(2).</summary>
internal static unsafe partial class MessageVector
{
    public const int MSG_DONTWAIT = 0x40;

    /// <summary>struct mmsghdr</summary>
    [StructLayout(LayoutKind.Sequential)]
    public struct Message
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
        public uint Length;
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
