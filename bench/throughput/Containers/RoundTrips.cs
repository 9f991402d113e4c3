using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>One byte to the other container and one back, over one TCP connection, one at a time: what a request waits at least.</summary>
public static class RoundTrips
{
    private const int Port = 7778, WarmUp = 500;

    public static Latencies Run(ContainerNetwork network, TimeSpan time, CancellationToken cancel)
    {
        using Socket listener = network.Namespaces[network.Second].Run(NewSocket);
        listener.Bind(new IPEndPoint(IPAddress.Parse(ContainerNetwork.SecondAddress), Port));
        listener.Listen();
        var echo = new Thread(() => Echo(listener)) { Name = "echo" };
        echo.Start();
        var times = new List<double>();
        using (Socket client = network.Namespaces[network.First].Run(NewSocket))
        {
            client.Connect(new IPEndPoint(IPAddress.Parse(ContainerNetwork.SecondAddress), Port));
            byte[] one = new byte[1];
            long start = Stopwatch.GetTimestamp();
            for (int i = 0; Stopwatch.GetElapsedTime(start) < time && !cancel.IsCancellationRequested; i++)
            {
                long begin = Stopwatch.GetTimestamp();
                client.Send(one);
                client.Receive(one);
                if (i >= WarmUp)
                {
                    times.Add(Stopwatch.GetElapsedTime(begin).TotalMicroseconds);
                }
            }
        }
        echo.Join();
        cancel.ThrowIfCancellationRequested();
        return Latencies.OfMicroseconds(times);
    }

    private static Socket NewSocket() => new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };

    private static void Echo(Socket listener)
    {
        try
        {
            using Socket peer = listener.Accept();
            peer.NoDelay = true;
            byte[] one = new byte[1];
            while (peer.Receive(one) == 1)
            {
                peer.Send(one);
            }
        }
        catch (SocketException)
        {
            // The client gave up, and says why.
        }
    }
}
