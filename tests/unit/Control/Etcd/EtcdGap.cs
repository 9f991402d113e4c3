using System.Net;
using System.Net.Sockets;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>A way to a server that can be cut and mended while the server goes on.</summary>
internal sealed class EtcdGap : IDisposable
{
    private readonly IPEndPoint _server;
    private readonly IPEndPoint _here = OwnLoopback.Next();
    private readonly List<Socket> _open = [];
    private TcpListener? _listener;

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

    public void Dispose() => Close();

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
                _ = PumpAsync(near, far);
                _ = PumpAsync(far, near);
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // Closed.
        }
    }

    private static async Task PumpAsync(Socket from, Socket to)
    {
        try
        {
            using var reader = new NetworkStream(from);
            using var writer = new NetworkStream(to);
            await reader.CopyToAsync(writer);
        }
        catch (Exception e) when (e is IOException or SocketException or ObjectDisposedException)
        {
            // Cut.
        }
    }
}
