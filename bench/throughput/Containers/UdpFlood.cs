using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>
/// Small UDP packets from one container to the other, as many as a sender can make with <c>sendmmsg</c>(2), and how many of them a
/// receiver gets with <c>recvmmsg</c>(2).
/// </summary>
public sealed unsafe class UdpFlood
{
    /// <summary>With the headers, a frame of 64 bytes on a wire.</summary>
    private const int Payload = 18;

    private const int Batch = 64, Port = 7777;

    private long _sent, _received;
    private volatile bool _stop;

    /// <summary>Packets per second that were sent and that arrived.</summary>
    public static (double Sent, double Received) Run(ContainerNetwork network, TimeSpan time, CancellationToken cancel)
    {
        using Socket sender = Open(network.Namespaces[network.First], ContainerNetwork.FirstAddress);
        using Socket receiver = Open(network.Namespaces[network.Second], ContainerNetwork.SecondAddress);
        sender.Connect(new IPEndPoint(IPAddress.Parse(ContainerNetwork.SecondAddress), Port));
        var flood = new UdpFlood();
        var threads = new[]
        {
            new Thread(() => flood.Exchange(receiver, send: false)) { Name = "flood-receive" },
            new Thread(() => flood.Exchange(sender, send: true)) { Name = "flood-send" },
        };
        foreach (Thread thread in threads)
        {
            thread.Start();
        }
        try
        {
            cancel.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(500));
            (long sent, long received, long start) = (Volatile.Read(ref flood._sent), Volatile.Read(ref flood._received), Stopwatch.GetTimestamp());
            cancel.WaitHandle.WaitOne(time);
            double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
            return ((Volatile.Read(ref flood._sent) - sent) / seconds, (Volatile.Read(ref flood._received) - received) / seconds);
        }
        finally
        {
            flood._stop = true;
            foreach (Thread thread in threads)
            {
                thread.Join();
            }
            cancel.ThrowIfCancellationRequested();
        }
    }

    private static Socket Open(NetNs ns, string address) => ns.Run(() =>
    {
        var socket = new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp) { ReceiveBufferSize = 8 << 20, ReceiveTimeout = 100 };
        socket.Bind(new IPEndPoint(IPAddress.Parse(address), Port));
        return socket;
    });

    private void Exchange(Socket socket, bool send)
    {
        byte* bytes = stackalloc byte[Payload];
        MessageVector.Message* messages = stackalloc MessageVector.Message[Batch];
        MessageVector.IoVector* vectors = stackalloc MessageVector.IoVector[Batch];
        new Span<byte>(bytes, Payload).Clear();
        for (int i = 0; i < Batch; i++)
        {
            vectors[i] = new MessageVector.IoVector { Base = bytes, Length = Payload };
            messages[i] = new MessageVector.Message { Vectors = vectors + i, VectorCount = 1 };
        }
        int fd = (int)socket.Handle;
        ref long count = ref send ? ref _sent : ref _received;
        while (!_stop)
        {
            int n = send ? MessageVector.Send(fd, messages, Batch) : MessageVector.Receive(fd, messages, Batch);
            if (n > 0)
            {
                Volatile.Write(ref count, count + n);
            }
            else if (!send)
            {
                socket.Poll(TimeSpan.FromMilliseconds(50), SelectMode.SelectRead);
            }
        }
    }
}
