using System.Net;
using System.Net.Sockets;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>A way to a server that can be cut and mended, or its answers held back, while the server goes on.</summary>
internal sealed class EtcdGap : IDisposable
{
    private readonly IPEndPoint _server;
    private readonly IPEndPoint _here = OwnLoopback.Next();
    private readonly List<Socket> _open = [];
    private TcpListener? _listener;
    private volatile TaskCompletionSource? _held;

    public EtcdGap(string server)
    {
        _server = IPEndPoint.Parse(server);
        Open();
    }

    public string Address => _here.ToString();

    public void Open()
    {
        _listener = new TcpListener(_here);
        _listener.Server.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReuseAddress, true);
        _listener.Start();
        _ = AcceptAsync(_listener);
    }

    public void Close()
    {
        _listener?.Dispose();
        _listener = null;
        lock (_open)
        {
            _open.ForEach(s => s.Dispose());
            _open.Clear();
        }
    }

    /// <summary>What the server says is not delivered until <see cref="Release"/>.</summary>
    public void Hold() => _held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Release() => Interlocked.Exchange(ref _held, null)?.SetResult();

    public void Dispose()
    {
        Close();
        Release();
    }

    private async Task AcceptAsync(TcpListener listener)
    {
        try
        {
            while (true)
            {
                Socket near = await listener.AcceptSocketAsync();
                var far = new Socket(SocketType.Stream, ProtocolType.Tcp);
                lock (_open)
                {
                    _open.AddRange([near, far]);
                }
                await far.ConnectAsync(_server);
                _ = PumpAsync(near, far, mayHold: false);
                _ = PumpAsync(far, near, mayHold: true);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed.
        }
    }

    private async Task PumpAsync(Socket from, Socket to, bool mayHold)
    {
        try
        {
            using var reader = new NetworkStream(from);
            using var writer = new NetworkStream(to);
            byte[] buffer = new byte[16 << 10];
            while (await reader.ReadAsync(buffer) is > 0 and var n)
            {
                await (mayHold && _held is { } held ? held.Task : Task.CompletedTask);
                await writer.WriteAsync(buffer.AsMemory(0, n));
            }
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // Cut.
        }
    }
}
