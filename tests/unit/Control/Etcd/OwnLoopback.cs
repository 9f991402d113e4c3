using System.Net;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>
/// Addresses on loopback that nothing else has, not even between two uses: 127.0.0.0/8 has room for one address per process,
/// and on it ports are counted. A port that the kernel chose could go to somebody else as soon as it is closed.
/// </summary>
internal static class OwnLoopback
{
    private static int s_lastPort = 20_000;

    /// <summary>Made of the process id, which has 22 bits at most. Connections leave from 127.0.0.1, which it never is.</summary>
    public static IPAddress Address { get; } = new(
        [127, (byte)(1 + (Environment.ProcessId >> 16)), (byte)(Environment.ProcessId >> 8), (byte)Environment.ProcessId]);

    public static IPEndPoint Next() => new(Address, Interlocked.Increment(ref s_lastPort));
}
