using System.Threading.Channels;
using Dataplane.Observation;
using Dataplane.Control.Api.V1;
using Google.Protobuf.WellKnownTypes;
using TraceStep = Dataplane.Observation.TraceStep;

namespace Dataplane.Control.Observation;

/// <summary>
/// Puts the steps of traced packets together. No step says that it is the last one of its packet (a flooded packet has an output
/// per port), so a packet is complete when nothing was heard of it for some rounds of the hub.
/// </summary>
public sealed class TraceCollector : ICaptureSink
{
    private const int QuietRounds = 10;

    private readonly Dictionary<uint, Open> _open = [];
    private readonly Channel<TracedPacket> _complete = Channel.CreateUnbounded<TracedPacket>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
    private readonly TraceNames _names;
    private readonly uint _limit;
    private readonly MonotonicTime _time = MonotonicTime.Now();
    private uint _begun, _ended;

    /// <param name="names">Names of ports and services.</param>
    /// <param name="limit">Packets to trace.</param>
    public TraceCollector(TraceNames names, uint limit)
    {
        _names = names;
        _limit = limit;
    }

    /// <summary>Packets in the order in which they are complete; ends after the last one.</summary>
    public ChannelReader<TracedPacket> Packets => _complete.Reader;

    public void Take(in CaptureRecord record, ReadOnlySpan<byte> bytes, ulong lost)
    {
        if (record.Kind != CaptureRecordKind.Step)
        {
            return;
        }
        (string stage, string text) = TraceText.Of(in record, _names);
        if ((TraceStep)record.Code == TraceStep.Received)
        {
            _open[record.Trace] = new Open(record.Time, new TracedPacket
            {
                Number = ++_begun,
                Time = _time.ToTime(record.Time).ToTimestamp(),
                Port = _names.PortName(record.Port) ?? $"#{record.Port}",
                Length = record.Original,
                Summary = PacketSummary.Of(bytes),
            });
        }
        // Steps of a packet whose beginning was lost tell nothing.
        if (_open.TryGetValue(record.Trace, out Open? packet))
        {
            packet.Quiet = 0;
            ulong after = record.Time > packet.Began ? record.Time - packet.Began : 0;
            packet.Message.Lines.Add(new TraceLine { Stage = stage, Text = text, After = new Duration { Seconds = (long)(after / 1_000_000_000), Nanos = (int)(after % 1_000_000_000) } });
        }
    }

    public void EndOfRound()
    {
        if (_open.Count == 0)
        {
            return;
        }
        foreach ((uint trace, Open packet) in _open.OrderBy(p => p.Value.Message.Number).ToList())
        {
            if (++packet.Quiet >= QuietRounds)
            {
                _open.Remove(trace);
                _complete.Writer.TryWrite(packet.Message);
                if (++_ended == _limit)
                {
                    _complete.Writer.Complete();
                }
            }
        }
    }

    private sealed class Open(ulong began, TracedPacket message)
    {
        public ulong Began { get; } = began;
        public TracedPacket Message { get; } = message;
        public int Quiet { get; set; }
    }
}
