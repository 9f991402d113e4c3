using System.Buffers.Binary;
using System.Diagnostics;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>Numbered frames of 64 bytes from one device to another, at a constant rate, until disposed.</summary>
public sealed class SteadyStream : IDisposable
{
    /// <summary>Local experimental EtherType 1 (IEEE 802): nobody else takes these.</summary>
    public const ushort EtherType = 0x88B5;

    /// <summary>
    /// Frames sent in one go after the sender had to wait for a CPU. What is missing beyond that is not made up for: it would not be
    /// a constant rate, but a burst that overflows the device's queue.
    /// </summary>
    private const int MostAtOnce = 200;

    private const int Size = 60;

    private readonly PacketSocket _from, _to;
    private readonly Thread _sender, _receiver;
    private readonly byte[] _frame = new byte[Size];
    private long _sent, _refused, _received;
    private volatile bool _stopSending, _stopReceiving;

    /// <param name="from">Where they are sent.</param>
    /// <param name="to">Where they are received.</param>
    /// <param name="source">Source address, six bytes.</param>
    /// <param name="destination">Destination address.</param>
    /// <param name="perSecond">Frames per second.</param>
    public SteadyStream(PacketSocket from, PacketSocket to, ReadOnlySpan<byte> source, ReadOnlySpan<byte> destination, int perSecond)
    {
        (_from, _to) = (from, to);
        destination.CopyTo(_frame);
        source.CopyTo(_frame.AsSpan(6));
        BinaryPrimitives.WriteUInt16BigEndian(_frame.AsSpan(12), EtherType);
        _receiver = new Thread(Receive) { Name = "receiver" };
        _sender = new Thread(() => Send(perSecond)) { Name = "sender" };
        _receiver.Start();
        _sender.Start();
    }

    /// <summary>Frames that the device took; that its queue had no room for; that came out at the other side.</summary>
    public (long Sent, long Refused, long Received) Counts => (Volatile.Read(ref _sent), Volatile.Read(ref _refused), Volatile.Read(ref _received));

    /// <summary>Ends sending, and waits for what is under way.</summary>
    public void Stop()
    {
        _stopSending = true;
        _sender.Join();
        for (long before = -1; before != Counts.Received;)
        {
            before = Counts.Received;
            Thread.Sleep(500);
        }
        _stopReceiving = true;
        _receiver.Join();
    }

    public void Dispose()
    {
        _stopSending = _stopReceiving = true;
        _sender.Join();
        _receiver.Join();
    }

    private void Send(int perSecond)
    {
        long start = Stopwatch.GetTimestamp(), due = 0;
        while (!_stopSending)
        {
            long now = (long)(Stopwatch.GetElapsedTime(start).TotalSeconds * perSecond);
            due = Math.Max(due, now - MostAtOnce);
            for (; due < now; due++)
            {
                BinaryPrimitives.WriteInt64BigEndian(_frame.AsSpan(14), due);
                ref long count = ref _from.TrySend(_frame) ? ref _sent : ref _refused;
                Volatile.Write(ref count, count + 1);
            }
            Thread.Sleep(1);
        }
    }

    private void Receive()
    {
        byte[] frame = new byte[2048];
        while (!_stopReceiving)
        {
            // What came to this device and not what is sent from it: with this destination.
            if (_to.Receive(frame) >= Size && frame.AsSpan(0, 6).SequenceEqual(_frame.AsSpan(0, 6)))
            {
                Volatile.Write(ref _received, _received + 1);
            }
        }
    }
}
