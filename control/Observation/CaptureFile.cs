using System.Buffers;
using System.IO.Pipelines;
using Dataplane.Observation;
using Dataplane.Control.State;
using Dataplane.Packets;

namespace Dataplane.Control.Observation;

/// <summary>
/// One capture as a pcapng file in a pipe: the hub writes blocks, a reader takes them out. The pipe holds a bounded number of
/// bytes; a packet that finds it full is lost, and counted, as one that found no room in a worker's ring.
/// </summary>
public sealed class CaptureFile : ICaptureSink
{
    /// <summary>Bytes that may wait for the reader.</summary>
    private const long Capacity = 8 * 1024 * 1024;

    private readonly Pipe _pipe = new(new PipeOptions(pauseWriterThreshold: 0, useSynchronizationContext: false));
    private readonly PcapNgWriter _writer;
    private readonly Func<DesiredState> _state;
    private readonly ulong _limit;
    private readonly uint _snapLength;
    private readonly MonotonicTime _time = MonotonicTime.Now();
    private readonly Dictionary<(int Port, string Name), uint> _interfaces = [];
    private readonly Dictionary<int, string> _names = [];
    private DesiredState? _named;
    private long _written, _taken;
    private ulong _packets, _lostHere, _lostInRings, _lostTold;
    private bool _dirty, _complete;

    /// <param name="state">Names the ports.</param>
    /// <param name="limit">Packets after which the file is complete; 0 for no limit.</param>
    /// <param name="snapLength">Bytes kept of each packet.</param>
    public CaptureFile(Func<DesiredState> state, ulong limit, uint snapLength)
    {
        _state = state;
        _limit = limit == 0 ? ulong.MaxValue : limit;
        _snapLength = snapLength;
        var counting = new CountingWriter(this);
        _writer = new PcapNgWriter(counting);
        _writer.Begin($"dataplane {typeof(CaptureFile).Assembly.GetName().Version?.ToString(3)}");
        _ = _pipe.Writer.FlushAsync();
    }

    /// <summary>The file's bytes; complete after the last packet.</summary>
    public PipeReader Reader => _pipe.Reader;

    /// <summary>Packets in the file so far.</summary>
    public ulong Packets => Volatile.Read(ref _packets);

    /// <summary>Packets lost so far.</summary>
    public ulong Lost => Volatile.Read(ref _lostHere) + Volatile.Read(ref _lostInRings);

    /// <summary>The reader has taken so many bytes out.</summary>
    public void Taken(long bytes) => Interlocked.Add(ref _taken, bytes);

    public void Take(in CaptureRecord record, ReadOnlySpan<byte> bytes, ulong lost)
    {
        _lostInRings = lost;
        if (_complete || record.Kind is not (CaptureRecordKind.In or CaptureRecordKind.Out or CaptureRecordKind.Drop))
        {
            return;
        }
        if (_written - Interlocked.Read(ref _taken) > Capacity)
        {
            _lostHere++;
            return;
        }
        bool drop = record.Kind == CaptureRecordKind.Drop;
        var reason = (DropReason)record.Code;
        string comment = drop && reason < DropReason.Count ? $"dropped: {reason.Name()} ({reason.Text()})" : "";
        bool inbound = drop ? reason < DropReason.Count && !reason.IsEgress() : record.Kind == CaptureRecordKind.In;
        ReadOnlySpan<byte> kept = bytes[..Math.Min(bytes.Length, (int)Math.Min(_snapLength, int.MaxValue))];
        ulong allLost = _lostHere + _lostInRings;
        _writer.Packet(InterfaceOf(record.Port), _time.ToUnixNanoseconds(record.Time), kept, record.Original,
            inbound ? PcapNgWriter.Direction.Inbound : PcapNgWriter.Direction.Outbound, comment, allLost - _lostTold);
        _lostTold = allLost;
        _packets++;
        _dirty = true;
        if (_packets == _limit)
        {
            Complete();
        }
    }

    public void EndOfRound()
    {
        if (_dirty && !_complete)
        {
            _dirty = false;
            // Never waits: the pipe has no threshold of its own.
            _ = _pipe.Writer.FlushAsync();
        }
    }

    /// <summary>No packet comes any more; the reader finds the end behind the last one.</summary>
    public void Complete()
    {
        if (!_complete)
        {
            _complete = true;
            _pipe.Writer.Complete();
        }
    }

    /// <summary>A port's interface; one of its own for each name, since another port may get the index of one that is gone.</summary>
    private uint InterfaceOf(int port)
    {
        DesiredState state = _state();
        if (!ReferenceEquals(state, _named))
        {
            _names.Clear();
            _named = state;
        }
        if (!_names.TryGetValue(port, out string? name))
        {
            _names[port] = name = state.PortName(port) ?? $"#{port}";
        }
        if (!_interfaces.TryGetValue((port, name), out uint number))
        {
            string network = state.Topology.Find(name) is { Network.Length: > 0 } named ? $"network {named.Network}" : "";
            _interfaces[(port, name)] = number = _writer.Interface(name, network, _snapLength);
        }
        return number;
    }

    /// <summary>The pipe's writer, and a count of what went into it.</summary>
    private sealed class CountingWriter(CaptureFile file) : IBufferWriter<byte>
    {
        public void Advance(int count)
        {
            file._written += count;
            file._pipe.Writer.Advance(count);
        }

        public Memory<byte> GetMemory(int sizeHint = 0) => file._pipe.Writer.GetMemory(sizeHint);

        public Span<byte> GetSpan(int sizeHint = 0) => file._pipe.Writer.GetSpan(sizeHint);
    }
}
