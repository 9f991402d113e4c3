using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Control;

/// <summary>What became of a steady stream of packets.</summary>
/// <param name="Name">What the control plane did meanwhile.</param>
/// <param name="PerSecond">Packets per second that were sent.</param>
/// <param name="Sent">Packets sent.</param>
/// <param name="Lost">Of these, packets that did not arrive.</param>
/// <param name="Dropped">Of these, packets that the switch counts as dropped.</param>
/// <param name="LongestPoll">Longest time between two polls of the worker, in microseconds.</param>
/// <param name="WaitedForCpu">How long the worker had to wait for its CPU in all, in microseconds: what of that time is the scheduler's.</param>
/// <param name="Updates">Entries per second that were pushed.</param>
public sealed record SteadyResult(string Name, double PerSecond, long Sent, long Lost, ulong Dropped, double LongestPoll, double WaitedForCpu, double Updates);

/// <summary>Two containers with a steady stream of packets between them, while entries are pushed, or not.</summary>
public sealed class PacketsWhilePushing(string directory, int core, int packetsPerSecond, CancellationToken cancel)
{
    private const string First = "a", Second = "b";

    /// <summary>Nothing is pushed for some time: what the machine does to a worker by itself.</summary>
    public SteadyResult Quiet(TimeSpan time) => Run("nothing", 1000, _ =>
    {
        cancel.WaitHandle.WaitOne(time);
        return Task.FromResult(0.0);
    }).Result;

    /// <summary>A million entries, say, as a stream of batches.</summary>
    public (SteadyResult Packets, double BytesPerEntry) Pushing(int entries, int batch)
    {
        double bytes = 0;
        SteadyResult result = Run(string.Create(CultureInfo.InvariantCulture, $"{entries:N0} entries pushed"), entries, async daemon =>
        {
            using var probe = new VisibilityProbe(daemon.IsVisible);
            var load = new UpdateLoad(daemon, probe, cancel);
            long before = daemon.ResidentBytes;
            LoadResult pushed = await load.PushAsync(entries / batch * batch, batch);
            bytes = (daemon.ResidentBytes - before) / (double)load.Count;
            return pushed.PerSecond;
        }).Result;
        return (result, bytes);
    }

    private async Task<SteadyResult> Run(string name, int macs, Func<DaemonSubject, Task<double>> meanwhile)
    {
        using var open = new BenchNamespaces();
        string[] namespaces = [open.Create(First), open.Create(Second)];
        using var daemon = new DaemonSubject(directory, macs, core, cancel);
        daemon.MakeNetwork();
        daemon.MakeTarget();
        string[] addresses = daemon.MakeContainers(namespaces);
        using var first = new PacketSocket(open[namespaces[0]], "eth0", SteadyStream.EtherType);
        using var second = new PacketSocket(open[namespaces[1]], "eth0", SteadyStream.EtherType);
        byte[][] macsOf = [.. addresses.Select(a => MacAddress.Parse(a).ToBytes())];
        Introduce(second, macsOf[1]);
        using var stream = new SteadyStream(first, second, macsOf[0], macsOf[1], packetsPerSecond);
        // Its first packets make the kernel and the worker warm.
        cancel.WaitHandle.WaitOne(TimeSpan.FromSeconds(1));
        ulong dropped = daemon.Dropped;
        TimeSpan waited = daemon.WorkerWaited;
        (long sent, _, _) = stream.Counts;
        long start = Environment.TickCount64;
        double updates = await meanwhile(daemon);
        double seconds = (Environment.TickCount64 - start) / 1000.0;
        long during = stream.Counts.Sent - sent;
        waited = daemon.WorkerWaited - waited;
        double longest = daemon.LongestPoll * 1e6 / daemon.Segment.Header.TscHz;
        stream.Stop();
        cancel.ThrowIfCancellationRequested();
        (long all, _, long received) = stream.Counts;
        return new SteadyResult(name, during / seconds, all, all - received, daemon.Dropped - dropped, longest, waited.TotalMicroseconds, updates);
    }

    /// <summary>A frame from an address, so that the switch knows where it is.</summary>
    private static void Introduce(PacketSocket socket, byte[] mac)
    {
        byte[] frame = new byte[60];
        frame.AsSpan(0, 6).Fill(0xFF);
        mac.CopyTo(frame, 6);
        (frame[12], frame[13]) = (SteadyStream.EtherType >> 8, SteadyStream.EtherType & 0xFF);
        if (!socket.TrySend(frame))
        {
            throw new BenchException("a container's device takes no frame");
        }
    }
}
