using System.Buffers;
using System.IO.Pipelines;
using Dataplane.Observation;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Observation;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Packets;
using Google.Protobuf;
using Grpc.Core;

namespace Dataplane.Control.Api;

/// <summary>The service Inspection.</summary>
public sealed class InspectionService(Controller controller, CaptureHub hub) : Inspection.InspectionBase
{
    private const uint MostTraced = 10_000;
    private const int MostBytes = 262_144;

    /// <summary>Bytes of a chunk, at which it is sent.</summary>
    private const int ChunkSize = 256 * 1024;

    public override async Task Capture(IAsyncStreamReader<CaptureRequest> requests, IServerStreamWriter<CaptureChunk> stream, ServerCallContext context)
    {
        if (!await requests.MoveNext(context.CancellationToken))
        {
            throw new ProblemException(StatusCode.InvalidArgument, "a capture begins with one CaptureRequest");
        }
        CaptureRequest request = requests.Current;
        var problems = new ProblemCollector();
        var wish = new CaptureWish
        {
            Kinds = request.Drops ? CaptureKinds.Drops : request.Direction switch
            {
                CaptureRequest.Types.Direction.In => CaptureKinds.In,
                CaptureRequest.Types.Direction.Out => CaptureKinds.Out,
                _ => CaptureKinds.In | CaptureKinds.Out,
            },
            Ports = Ports(request.Ports, problems),
            Reasons = Reasons(request, problems),
            Filter = Filter(request.Filter, problems),
            SnapLength = request.SnapLength is 0 or > MostBytes ? MostBytes : (int)request.SnapLength,
        };
        if (request.Drops && request.Direction != CaptureRequest.Types.Direction.Any)
        {
            problems.Add(Kind.Unspecified, "", "direction", "a dropped packet has no direction: leave out either direction or drops");
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }
        var file = new CaptureFile(() => controller.State, request.Count, (uint)wish.SnapLength);
        using CaptureLease session = Open(wish, file);
        Task ended = FinishAtEndAsync(requests, session, file, context.CancellationToken);
        await CopyAsync(file, stream, context.CancellationToken);
        if (ended.IsCompleted)
        {
            await ended;
        }
    }

    /// <summary>When the caller ends its side, everything captured until then still goes into the file.</summary>
    private static async Task FinishAtEndAsync(IAsyncStreamReader<CaptureRequest> requests, CaptureLease session, CaptureFile file, CancellationToken cancel)
    {
        try
        {
            while (await requests.MoveNext(cancel))
            {
            }
            await session.FinishAsync();
            file.Complete();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // The caller is gone, or the call is over.
        }
    }

    public override async Task Trace(TraceRequest request, IServerStreamWriter<TracedPacket> stream, ServerCallContext context)
    {
        var problems = new ProblemCollector();
        uint count = request.Count == 0 ? 1 : request.Count;
        var wish = new CaptureWish
        {
            Kinds = CaptureKinds.Trace,
            TraceCount = (int)Math.Min(count, MostTraced),
            Ports = Ports(request.Ports, problems),
            Filter = Filter(request.Filter, problems),
        };
        if (count > MostTraced)
        {
            problems.Add(Kind.Unspecified, "", "count", $"{count} packets are too many to trace, at most {MostTraced}");
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }
        var collector = new TraceCollector(new TraceNames(() => controller.State, controller.Segment), count);
        using CaptureLease session = Open(wish, collector);
        // The caller may wait for these before it makes packets.
        await context.WriteResponseHeadersAsync([]);
        await foreach (TracedPacket packet in collector.Packets.ReadAllAsync(context.CancellationToken))
        {
            await stream.WriteAsync(packet, context.CancellationToken);
        }
    }

    private static async Task CopyAsync(CaptureFile file, IServerStreamWriter<CaptureChunk> stream, CancellationToken cancel)
    {
        while (true)
        {
            ReadResult read = await file.Reader.ReadAsync(cancel);
            foreach (ReadOnlyMemory<byte> piece in Pieces(read.Buffer))
            {
                await stream.WriteAsync(new CaptureChunk { Pcapng = UnsafeByteOperations.UnsafeWrap(piece), Packets = file.Packets, Lost = file.Lost }, cancel);
            }
            file.Taken(read.Buffer.Length);
            file.Reader.AdvanceTo(read.Buffer.End);
            if (read.IsCompleted)
            {
                return;
            }
        }
    }

    /// <summary>What is in the pipe, in pieces of a size that a message may have.</summary>
    private static IEnumerable<ReadOnlyMemory<byte>> Pieces(ReadOnlySequence<byte> buffer)
    {
        for (ReadOnlySequence<byte> rest = buffer; rest.Length > 0;)
        {
            long length = Math.Min(rest.Length, ChunkSize);
            ReadOnlySequence<byte> piece = rest.Slice(0, length);
            yield return piece.IsSingleSegment ? piece.First : piece.ToArray();
            rest = rest.Slice(length);
        }
    }

    private CaptureLease Open(CaptureWish wish, ICaptureSink sink)
    {
        try
        {
            return hub.Open(wish, sink);
        }
        catch (CaptureBusyException e)
        {
            throw new ProblemException(StatusCode.ResourceExhausted, e.Message);
        }
        catch (TimeoutException e)
        {
            throw new ProblemException(StatusCode.Unavailable, e.Message);
        }
    }

    private List<int> Ports(IEnumerable<string> names, ProblemCollector problems)
    {
        DesiredState state = controller.State;
        var indices = new List<int>();
        foreach (string name in names)
        {
            if (state.Topology.Find(name) is { } port)
            {
                indices.Add(port.Index);
            }
            else
            {
                problems.Add(Kind.Port, name, "ports", "does not exist", code: StatusCode.NotFound);
            }
        }
        return indices;
    }

    private static HashSet<DropReason> Reasons(CaptureRequest request, ProblemCollector problems)
    {
        if (request.Reasons.Count > 0 && !request.Drops)
        {
            problems.Add(Kind.Unspecified, "", "reasons", "reasons are of dropped packets: set drops too");
        }
        var reasons = new HashSet<DropReason>();
        foreach (string name in request.Reasons)
        {
            DropReason reason = DropReasons.All.FirstOrDefault(r => r.Name() == name, DropReason.Count);
            if (reason == DropReason.Count)
            {
                problems.Add(Kind.Unspecified, "", "reasons", $"\"{name}\" is no drop reason; they are: {string.Join(", ", DropReasons.All.Select(r => r.Name()))}");
                continue;
            }
            reasons.Add(reason);
        }
        return reasons;
    }

    private static IReadOnlyList<BpfInstruction> Filter(string filter, ProblemCollector problems)
    {
        try
        {
            return PcapFilter.Compile(filter);
        }
        catch (FilterException e)
        {
            problems.Add(Kind.Unspecified, "", "filter", $"the filter is not understood: {e.Message}", "see: man 7 pcap-filter");
            return [];
        }
    }
}
