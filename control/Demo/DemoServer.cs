using System.Net;
using System.Net.Sockets;
using System.Text;
using NetNs = Dataplane.Interop.Linux.NetNs;

namespace Dataplane.Control.Demo;

/// <summary>
/// A small web server in a node's namespace, which answers every request with the node's name and the address that it sees the client by, and
/// then closes. Its sockets are the kernel's, and end with the demo however that ends.
/// </summary>
internal sealed class DemoServer : IDisposable
{
    private readonly Node _node;
    private readonly Socket _listener;
    private int _served;

    public DemoServer(Node node, int port)
    {
        _node = node;
        using NetNs inside = NetNs.OpenNamed(node.Namespace!);
        // A socket is of the namespace in which it was made.
        _listener = inside.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        _listener.Bind(new IPEndPoint(IPAddress.Any, port));
        _listener.Listen();
        _ = AcceptAsync();
    }

    /// <summary>Requests that were answered.</summary>
    public int Served => Volatile.Read(ref _served);

    public void Dispose() => _listener.Dispose();

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                _ = AnswerAsync(await _listener.AcceptAsync());
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The demo ends.
        }
    }

    private async Task AnswerAsync(Socket client)
    {
        using (client)
        {
            try
            {
                var request = new StringBuilder();
                byte[] buffer = new byte[4096];
                while (!request.ToString().Contains("\r\n\r\n", StringComparison.Ordinal))
                {
                    int n = await client.ReceiveAsync(buffer);
                    if (n == 0 || request.Length > buffer.Length)
                    {
                        return;
                    }
                    request.Append(Encoding.ASCII.GetString(buffer, 0, n));
                }
                string body = $"{_node.Name} {((IPEndPoint)client.RemoteEndPoint!).Address}\n";
                await client.SendAsync(Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {body.Length}\r\nConnection: close\r\n\r\n{body}"));
                Interlocked.Increment(ref _served);
                client.Shutdown(SocketShutdown.Send);
            }
            catch (SocketException)
            {
                // The client has gone.
            }
        }
    }
}
