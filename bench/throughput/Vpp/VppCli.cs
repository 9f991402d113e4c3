using System.Net.Sockets;
using System.Text;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>
/// VPP's command line by its socket, as <c>vppctl</c> speaks with it: Telnet, of which the terminal type "vppctl" alone matters. It turns off echo, prompt and
/// pager, and makes the end of each answer a zero byte.
/// </summary>
internal sealed class VppCli : IDisposable
{
    private const byte InterpretAsCommand = 255, SubnegotiationBegin = 250, SubnegotiationEnd = 240, TerminalType = 24, Is = 0;

    /// <summary>A million routes take minutes.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);

    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = (int)s_patience.TotalMilliseconds };
    private readonly byte[] _buffer = new byte[65_536];

    /// <exception cref="SocketException">Nobody listens.</exception>
    public VppCli(string path)
    {
        try
        {
            _socket.Connect(new UnixDomainSocketEndPoint(path));
            Send([InterpretAsCommand, SubnegotiationBegin, TerminalType, Is, .. "vppctl"u8, InterpretAsCommand, SubnegotiationEnd]);
        }
        catch
        {
            _socket.Dispose();
            throw;
        }
    }

    /// <summary>One command. Gives what it prints.</summary>
    /// <exception cref="SocketException">It has ended, or does not answer.</exception>
    public string Ask(string command)
    {
        Send(Encoding.UTF8.GetBytes($"{command}\n"));
        var answer = new List<byte>();
        do
        {
            int count = _socket.Receive(_buffer);
            if (count == 0)
            {
                throw new SocketException((int)SocketError.ConnectionReset);
            }
            answer.AddRange(_buffer.AsSpan(0, count));
        }
        while (answer[^1] != 0);
        return VppOutput.Text(answer.ToArray());
    }

    public void Dispose() => _socket.Dispose();

    private void Send(byte[] bytes)
    {
        for (int sent = 0; sent < bytes.Length;)
        {
            sent += _socket.Send(bytes.AsSpan(sent));
        }
    }
}
