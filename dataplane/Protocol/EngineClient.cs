using System.Text.Json;
using Dataplane.Interop.Linux;

namespace Dataplane.Protocol;

/// <summary>The engine refused a request.</summary>
public sealed class EngineException(string message) : Exception(message);

/// <summary>
/// The control process's end of the engine's unix socket (SOCK_SEQPACKET, one request and one reply at a time). Thread-safe.
/// </summary>
public sealed class EngineClient : IDisposable
{
    private static readonly TimeSpan ReplyTimeout = TimeSpan.FromSeconds(30);

    private readonly SeqPacketConnection _connection;
    private readonly Lock _lock = new();
    private readonly byte[] _buffer = new byte[SeqPacketConnection.MaxMessageLength];

    private EngineClient(SeqPacketConnection connection)
    {
        _connection = connection;
    }

    /// <summary>Connects to a running engine.</summary>
    /// <exception cref="LinuxException">Nobody listens (ECONNREFUSED, ENOENT).</exception>
    public static EngineClient Connect(string socketPath, TimeSpan? timeout = null) =>
        new(SeqPacketConnection.Connect(socketPath, timeout));

    /// <summary>The socket, which becomes readable (end of file) when the engine dies and no request is under way.</summary>
    public int Fd => _connection.Fd;

    /// <summary>The engine's process id, from the kernel.</summary>
    public int PeerPid => _connection.Peer.Pid;

    /// <summary>Who the engine is and which ports it has.</summary>
    public EngineReply Hello() => Call(new EngineRequest { Operation = EngineOperation.Hello }, [], []).Reply;

    /// <summary>Attaches a port.</summary>
    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">Name of the port, for messages.</param>
    /// <param name="spec">The device: see <see cref="Ports.PortSpec"/>.</param>
    /// <param name="mtu">Layer-3 MTU in bytes.</param>
    /// <param name="mac">Address of a TAP's kernel side, or null.</param>
    /// <param name="fds">A TAP's descriptors, one per worker. The engine gets copies.</param>
    public EnginePortInfo Attach(int index, string name, string spec, int mtu, string? mac, ReadOnlySpan<int> fds)
    {
        var request = new EngineRequest { Operation = EngineOperation.Attach, Index = index, Name = name, Spec = spec, Mtu = mtu, Mac = mac };
        return Call(request, fds, []).Reply.Ports![0];
    }

    public void Detach(int index) => Call(new EngineRequest { Operation = EngineOperation.Detach, Index = index }, [], []);

    /// <summary>Gives a receive queue of a port to another worker.</summary>
    public void Assign(int index, int queue, int worker) =>
        Call(new EngineRequest { Operation = EngineOperation.Assign, Index = index, Queue = queue, Worker = worker }, [], []);

    /// <summary>Copies of a TAP port's descriptors, owned by the caller.</summary>
    public int[] Fds(int index)
    {
        Span<int> fds = stackalloc int[SeqPacketConnection.MaxFds];
        int count = Call(new EngineRequest { Operation = EngineOperation.Fds, Index = index }, [], fds).Fds;
        return fds[..count].ToArray();
    }

    /// <summary>Asks the engine to stop in order. It answers first, then goes.</summary>
    public void Quit() => Call(new EngineRequest { Operation = EngineOperation.Quit }, [], []);

    public void Dispose() => _connection.Dispose();

    private (EngineReply Reply, int Fds) Call(EngineRequest request, ReadOnlySpan<int> send, Span<int> receive)
    {
        lock (_lock)
        {
            _connection.Send(JsonSerializer.SerializeToUtf8Bytes(request, EngineJson.Default.EngineRequest), send);
            Received received = _connection.Receive(_buffer, receive, ReplyTimeout);
            if (received.IsEnd)
            {
                throw new EngineException("the engine ended while it was asked something");
            }
            EngineReply reply = JsonSerializer.Deserialize(_buffer.AsSpan(0, received.Length), EngineJson.Default.EngineReply)
                ?? throw new EngineException("the engine gave an empty reply");
            return reply.Error is null ? (reply, received.FdCount) : throw new EngineException(reply.Error);
        }
    }
}
