using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Kernel;

/// <summary>
/// Sends the frames of capture files by devices of a namespace, over and over, as fast as the kernel takes them, by a thread on a CPU of its own:
/// what <c>infinite_rx</c> is to DPDK's programs.
/// </summary>
internal sealed unsafe class FrameReplay : IDisposable
{
    private const int Batch = 64;

    private readonly List<(PacketSocket Socket, nint Frames, nint Vectors, nint Messages, int Count)> _streams = [];
    private readonly Thread _thread;
    private long _sent;
    private volatile bool _stop;

    /// <param name="ns">The namespace.</param>
    /// <param name="streams">Devices, and the file that each sends.</param>
    /// <param name="cpu">Where the thread runs.</param>
    public FrameReplay(NetNs ns, IReadOnlyList<(string Device, string Path)> streams, int cpu)
    {
        foreach ((string device, string path) in streams)
        {
            Add(new PacketSocket(ns, device, etherType: 0, bypassesQueue: true), PcapReader.Read(path));
        }
        _thread = new Thread(() =>
        {
            CpuAffinity.Set(cpu);
            Run();
        })
        { Name = "replay" };
        _thread.Start();
    }

    /// <summary>Frames that the kernel took.</summary>
    public long Sent => Volatile.Read(ref _sent);

    public void Dispose()
    {
        _stop = true;
        _thread.Join();
        foreach ((PacketSocket socket, nint frames, nint vectors, nint messages, _) in _streams)
        {
            socket.Dispose();
            NativeMemory.Free((void*)frames);
            NativeMemory.Free((void*)vectors);
            NativeMemory.Free((void*)messages);
        }
    }

    private void Add(PacketSocket socket, List<byte[]> frames)
    {
        byte* bytes = (byte*)NativeMemory.Alloc((nuint)frames.Sum(f => f.Length));
        var vectors = (MessageVector.IoVector*)NativeMemory.AllocZeroed((nuint)frames.Count, (nuint)sizeof(MessageVector.IoVector));
        var messages = (MessageVector.Message*)NativeMemory.AllocZeroed((nuint)frames.Count, (nuint)sizeof(MessageVector.Message));
        byte* at = bytes;
        for (int i = 0; i < frames.Count; i++)
        {
            frames[i].CopyTo(new Span<byte>(at, frames[i].Length));
            vectors[i] = new MessageVector.IoVector { Base = at, Length = (nuint)frames[i].Length };
            messages[i] = new MessageVector.Message { Vectors = vectors + i, VectorCount = 1 };
            at += frames[i].Length;
        }
        _streams.Add((socket, (nint)bytes, (nint)vectors, (nint)messages, frames.Count));
    }

    private void Run()
    {
        var next = new int[_streams.Count];
        while (!_stop)
        {
            for (int s = 0; s < next.Length; s++)
            {
                (PacketSocket socket, _, _, nint messages, int count) = _streams[s];
                int n = MessageVector.Send(socket.Descriptor, (MessageVector.Message*)messages + next[s], Math.Min(Batch, count - next[s]));
                // What the device's queue has no room for is sent again.
                next[s] = (next[s] + Math.Max(0, n)) % count;
                Volatile.Write(ref _sent, _sent + Math.Max(0, n));
            }
        }
    }
}
