using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography;
using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>Sockets of the test itself in two stations' namespaces.</summary>
public sealed class Conversation
{
    public const int Port = 5300;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    private readonly Station _from;
    private readonly Station _to;

    public Conversation(Station from, Station to)
    {
        _from = from;
        _to = to;
    }

    /// <summary>A TCP connection: the sender's address and port as it sees them itself, and as the receiver does.</summary>
    public (IPEndPoint Own, IPEndPoint Seen) ViewsByTcp()
    {
        using Socket listener = Inside(_to, SocketType.Stream, ProtocolType.Tcp), client = Inside(_from, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(_to.Any, Port));
        listener.Listen();
        client.Connect(new IPEndPoint(IPAddress.Parse(_to.Address), Port));
        using Socket server = listener.Accept();
        return ((IPEndPoint)client.LocalEndPoint!, (IPEndPoint)server.RemoteEndPoint!);
    }

    /// <summary>Waits until a TCP connection is made. For where a ping would do, and many have to be asked.</summary>
    /// <param name="details">For the message of a failure.</param>
    public void Connects(Func<string>? details = null)
    {
        using Socket listener = Inside(_to, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(_to.Any, Port));
        listener.Listen();
        Until.True(TryConnect, $"{_from.Namespace.Label} ({_from.Address}) reaches {_to.Namespace.Label} ({_to.Address})", details);
    }

    private bool TryConnect()
    {
        // A SYN that is lost is not sent again for a second: rather another connection.
        using Socket client = Inside(_from, SocketType.Stream, ProtocolType.Tcp);
        using var patience = new CancellationTokenSource(200);
        try
        {
            client.ConnectAsync(new IPEndPoint(IPAddress.Parse(_to.Address), Port), patience.Token).AsTask().GetAwaiter().GetResult();
            return true;
        }
        catch (Exception e) when (e is OperationCanceledException or SocketException)
        {
            return false;
        }
    }

    /// <summary>A datagram and its answer: the sender's address and port as the receiver sees them, and the receiver's as the sender does.</summary>
    public (IPEndPoint Sender, IPEndPoint Receiver) ViewsByUdp()
    {
        using Socket server = Inside(_to, SocketType.Dgram, ProtocolType.Udp), client = Inside(_from, SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(_to.Any, Port));
        client.Bind(new IPEndPoint(_to.Any, Port)); // to no peer: an answer is taken from wherever it comes
        server.ReceiveTimeout = client.ReceiveTimeout = (int)s_patience.TotalMilliseconds;
        client.SendTo([1], new IPEndPoint(IPAddress.Parse(_to.Address), Port));
        EndPoint sender = new IPEndPoint(_to.Any, 0), receiver = new IPEndPoint(_to.Any, 0);
        byte[] buffer = new byte[16];
        server.ReceiveFrom(buffer, ref sender);
        server.SendTo([2], sender);
        client.ReceiveFrom(buffer, ref receiver);
        return ((IPEndPoint)sender, (IPEndPoint)receiver);
    }

    /// <summary>Sends so many bytes over TCP. Fails unless all arrive unchanged.</summary>
    public void StreamTcp(long bytes)
    {
        using Socket listener = Inside(_to, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(_to.Any, Port));
        listener.Listen();
        using Socket client = Inside(_from, SocketType.Stream, ProtocolType.Tcp);
        client.SendTimeout = (int)s_patience.TotalMilliseconds;
        Task<byte[]> sent = Task.Run(() => Send(client, bytes));
        using Socket server = listener.Accept();
        server.ReceiveTimeout = (int)s_patience.TotalMilliseconds;
        byte[] received = Receive(server, bytes);
        Assert.Equal(Convert.ToHexString(sent.GetAwaiter().GetResult()), Convert.ToHexString(received));
    }

    /// <summary>Sends a datagram of every size of a range, and takes what comes back. Fails unless each is answered unchanged.</summary>
    public void EchoUdp(int smallest, int largest)
    {
        const int Window = 16, Attempts = 7;
        using Socket server = Inside(_to, SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(_to.Any, Port));
        server.ReceiveBufferSize = 4 << 20;
        using Socket client = Inside(_from, SocketType.Dgram, ProtocolType.Udp);
        client.ReceiveBufferSize = 4 << 20;
        client.Connect(new IPEndPoint(IPAddress.Parse(_to.Address), Port));
        using var stop = new CancellationTokenSource();
        Task echo = Task.Run(() => Echo(server, _to.Any, stop.Token));
        for (int first = smallest; first <= largest; first += Window)
        {
            var missing = new HashSet<int>(Enumerable.Range(first, Math.Min(Window, largest - first + 1)));
            // A datagram may be lost between two busy programs; it must get through when it is sent again.
            for (int attempt = 0; attempt < Attempts && missing.Count != 0; attempt++)
            {
                client.ReceiveTimeout = 50 << attempt;
                Echo(client, missing);
            }
            Assert.True(missing.Count == 0, $"no answer to datagrams of {string.Join(", ", missing)} bytes");
        }
        stop.Cancel();
        echo.GetAwaiter().GetResult();
    }

    /// <summary>
    /// Sends numbered datagrams of one size as fast as they go. Fails unless what arrives are such datagrams, one at a time, unchanged and in
    /// their order, and they are not few.
    /// </summary>
    public void FloodUdp(int size, int count)
    {
        using Socket server = Inside(_to, SocketType.Dgram, ProtocolType.Udp);
        server.Bind(new IPEndPoint(_to.Any, Port));
        server.ReceiveBufferSize = 4 << 20;
        server.ReceiveTimeout = 2000;
        using Socket client = Inside(_from, SocketType.Dgram, ProtocolType.Udp);
        client.Connect(new IPEndPoint(IPAddress.Parse(_to.Address), Port));
        byte[] expected = Payload(size), buffer = new byte[65536];
        BitConverter.TryWriteBytes(expected, 0);
        // The first one by itself: while the sender's kernel looks for the neighbour it lets what comes meanwhile wait, and others overtake that.
        client.Send(expected);
        Assert.Equal(size, server.Receive(buffer));
        Task sent = Task.Run(() =>
        {
            byte[] datagram = Payload(size);
            for (int number = 1; number < count; number++)
            {
                BitConverter.TryWriteBytes(datagram, number);
                client.Send(datagram);
            }
        });
        int arrived = 1, last = 0;
        try
        {
            while (last < count - 1)
            {
                int n = server.Receive(buffer);
                int number = BitConverter.ToInt32(buffer);
                Assert.True(number > last, $"datagram {number} came behind {last}");
                BitConverter.TryWriteBytes(expected, number);
                Assert.True(buffer.AsSpan(0, n).SequenceEqual(expected), $"datagram {number} of {size} bytes came changed, as {n} bytes");
                (last, arrived) = (number, arrived + 1);
            }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.TimedOut)
        {
        }
        sent.GetAwaiter().GetResult();
        Assert.True(arrived > count / 10, $"{arrived} of {count} datagrams arrived");
    }

    /// <summary>Sends datagrams of some sizes, and removes those that come back, until none does for a while.</summary>
    private static void Echo(Socket client, HashSet<int> sizes)
    {
        byte[] buffer = new byte[65536];
        foreach (int size in sizes)
        {
            client.Send(Payload(size));
        }
        try
        {
            while (sizes.Count != 0)
            {
                int n = client.Receive(buffer);
                Assert.True(buffer.AsSpan(0, n).SequenceEqual(Payload(n)), $"datagram of {n} bytes came back changed");
                sizes.Remove(n);
            }
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.TimedOut)
        {
        }
    }

    private Socket Inside(Station station, SocketType type, ProtocolType protocol)
    {
        using NetNs ns = NetNs.OpenNamed(station.Namespace.Name);
        return ns.Run(() => new Socket(_to.Any.AddressFamily, type, protocol));
    }

    private byte[] Send(Socket client, long bytes)
    {
        client.Connect(new IPEndPoint(IPAddress.Parse(_to.Address), Port));
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        var random = new Random(1);
        for (long left = bytes; left > 0;)
        {
            // Not all new each time, which would take longer than the sending; but no two pieces are the same.
            random.NextBytes(buffer.AsSpan(0, 4096));
            int n = (int)Math.Min(left, buffer.Length);
            hash.AppendData(buffer, 0, n);
            for (int sent = 0; sent < n;)
            {
                sent += client.Send(buffer, sent, n - sent, SocketFlags.None);
            }
            left -= n;
        }
        client.Shutdown(SocketShutdown.Send);
        return hash.GetHashAndReset();
    }

    private static byte[] Receive(Socket server, long bytes)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = new byte[1 << 20];
        long total = 0;
        for (int n; (n = server.Receive(buffer)) > 0; total += n)
        {
            hash.AppendData(buffer, 0, n);
        }
        Assert.Equal(bytes, total);
        return hash.GetHashAndReset();
    }

    private static void Echo(Socket server, IPAddress any, CancellationToken stop)
    {
        byte[] buffer = new byte[65536];
        server.ReceiveTimeout = 100;
        EndPoint from = new IPEndPoint(any, 0);
        while (!stop.IsCancellationRequested)
        {
            try
            {
                int n = server.ReceiveFrom(buffer, ref from);
                server.SendTo(buffer, n, SocketFlags.None, from);
            }
            catch (SocketException e) when (e.SocketErrorCode == SocketError.TimedOut)
            {
            }
        }
    }

    private static byte[] Payload(int size)
    {
        byte[] payload = new byte[size];
        for (int i = 0; i < size; i++)
        {
            payload[i] = (byte)(i + size + (i >> 8));
        }
        return payload;
    }
}
