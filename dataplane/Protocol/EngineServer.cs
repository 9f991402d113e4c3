using System.Text.Json;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Packets;
using Dataplane.Ports;
using Dataplane.Workers;

namespace Dataplane.Protocol;

/// <summary>
/// The engine's end of the unix socket. Requests are rare (a port comes or goes), and each is answered before the next is read;
/// several control processes may be connected for a moment while one takes over from another.
/// </summary>
public sealed class EngineServer : IDisposable
{
    private static readonly TimeSpan Poll = TimeSpan.FromMilliseconds(500);

    private readonly SeqPacketListener _listener;
    private readonly Engine _engine;
    private readonly string _segmentPath;
    private readonly Action<string> _log;
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<int, string> _specs = [];
    private readonly Lock _lock = new();

    public EngineServer(string socketPath, Engine engine, string segmentPath, Action<string> log)
    {
        _listener = SeqPacketListener.Listen(socketPath);
        _engine = engine;
        _segmentPath = segmentPath;
        _log = log;
    }

    /// <summary>Serves until <see cref="Stop"/> or a Quit request.</summary>
    public void Run()
    {
        while (!_stop.IsCancellationRequested)
        {
            SeqPacketConnection? connection = _listener.Accept(Poll);
            if (connection != null)
            {
                new Thread(() => Serve(connection)) { Name = "control", IsBackground = true }.Start();
            }
        }
    }

    public void Stop() => _stop.Cancel();

    public void Dispose() => _listener.Dispose();

    private void Serve(SeqPacketConnection connection)
    {
        using (connection)
        {
            byte[] buffer = new byte[SeqPacketConnection.MaxMessageLength];
            int[] fds = new int[SeqPacketConnection.MaxFds];
            try
            {
                while (!_stop.IsCancellationRequested)
                {
                    if (!connection.TryReceive(buffer, fds, Poll, out Received received))
                    {
                        continue;
                    }
                    if (received.IsEnd)
                    {
                        return;
                    }
                    (EngineReply reply, int[] send, bool quit) = Handle(buffer.AsSpan(0, received.Length), fds.AsSpan(0, received.FdCount));
                    connection.Send(JsonSerializer.SerializeToUtf8Bytes(reply, EngineJson.Default.EngineReply), send);
                    if (quit)
                    {
                        Stop();
                    }
                }
            }
            catch (LinuxException e)
            {
                _log($"control connection: {e.Message}");
            }
        }
    }

    /// <summary>Carries out one request. Descriptors that it does not use are closed.</summary>
    private (EngineReply Reply, int[] Fds, bool Quit) Handle(ReadOnlySpan<byte> message, Span<int> fds)
    {
        bool used = false;
        try
        {
            EngineRequest request = JsonSerializer.Deserialize(message, EngineJson.Default.EngineRequest)
                ?? throw new JsonException("empty request");
            lock (_lock)
            {
                switch (request.Operation)
                {
                    case EngineOperation.Hello:
                        return (Hello(), [], false);
                    case EngineOperation.Attach:
                        used = true;
                        return (Attach(request, fds.ToArray()), [], false);
                    case EngineOperation.Detach:
                        return (Detach(request.Index), [], false);
                    case EngineOperation.Fds:
                        return (new EngineReply { Pid = Environment.ProcessId }, FdsOf(request.Index), false);
                    case EngineOperation.Assign:
                        return (Assign(request), [], false);
                    case EngineOperation.Quit:
                        return (new EngineReply { Pid = Environment.ProcessId }, [], true);
                    default:
                        return (new EngineReply { Error = $"unknown operation {request.Operation}" }, [], false);
                }
            }
        }
        catch (Exception e) when (e is JsonException or LinuxException or DpdkException or ArgumentException or InvalidOperationException
            or TimeoutException or FormatException or IOException or EngineException)
        {
            return (new EngineReply { Error = e.Message }, [], false);
        }
        finally
        {
            if (!used)
            {
                CloseAll(fds);
            }
        }
    }

    private EngineReply Hello() => new()
    {
        Pid = Environment.ProcessId,
        Version = typeof(EngineServer).Assembly.GetName().Version?.ToString(3),
        Dpdk = Eal.Version,
        Workers = _engine.Workers.Count,
        Segment = _segmentPath,
        Ports = [.. _engine.Ports.Select(Info)],
    };

    private EngineReply Attach(EngineRequest request, int[] fds)
    {
        EnginePort? port = null;
        try
        {
            PortSpec spec = PortSpec.Parse(request.Spec ?? throw new FormatException("a port needs a device"));
            port = PortFactory.Create(_engine, request.Index, request.Name ?? $"port {request.Index}", spec, request.Mtu,
                request.Mac is null ? 0 : MacAddress.Parse(request.Mac).Value, fds);
            _engine.Attach(port);
            _specs[request.Index] = request.Spec;
            _log($"port {request.Index} \"{port.Name}\" attached: {request.Spec}");
            return new EngineReply { Pid = Environment.ProcessId, Ports = [Info(port)] };
        }
        catch
        {
            if (port != null)
            {
                port.Dispose();
            }
            else
            {
                CloseAll(fds);
            }
            throw;
        }
    }

    private EngineReply Detach(int index)
    {
        if (!_engine.Detach(index))
        {
            return new EngineReply { Error = $"no port {index} is attached" };
        }
        _specs.Remove(index);
        _log($"port {index} detached");
        return new EngineReply { Pid = Environment.ProcessId };
    }

    private EngineReply Assign(EngineRequest request)
    {
        _engine.Assign(request.Index, request.Queue, request.Worker);
        _log($"port {request.Index}: queue {request.Queue} goes to worker {request.Worker}");
        return new EngineReply { Pid = Environment.ProcessId };
    }

    private int[] FdsOf(int index) => _engine.Ports.FirstOrDefault(p => p.Index == index) switch
    {
        TapPort tap => tap.Fds.ToArray(),
        null => throw new EngineException($"no port {index} is attached"),
        var other => throw new EngineException($"port {index} \"{other.Name}\" is not a TAP"),
    };

    private EnginePortInfo Info(EnginePort port) => new()
    {
        Index = port.Index,
        Name = port.Name,
        Spec = _specs.GetValueOrDefault(port.Index, ""),
        RxQueues = port.RxQueues,
        TxQueues = port.TxQueues,
        Workers = _engine.OwnersOf(port.Index),
        Mac = port.Mac == 0 ? null : new MacAddress(port.Mac).ToString(),
        LostError = port.LostError,
    };

    private static void CloseAll(ReadOnlySpan<int> fds)
    {
        foreach (int fd in fds)
        {
            Libc.close(fd);
        }
    }
}
