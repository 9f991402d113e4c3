using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using Grpc.Core;
using Grpc.Core.Interceptors;

namespace Dataplane.Control.Api;

/// <summary>Problems on their way over gRPC: a status, and the list of problems in its details.</summary>
public static class Errors
{
    public const string DetailsTrailer = "grpc-status-details-bin";
    private const string TypePrefix = "type.googleapis.com";

    /// <summary>The status of a refused call.</summary>
    public static RpcException ToRpc(ProblemException error) =>
        new(new Status(error.Code, error.Message), new Metadata { { DetailsTrailer, Details(error) } });

    /// <summary>What stands in the trailer.</summary>
    public static byte[] Details(ProblemException error)
    {
        var list = new ProblemList();
        list.Problems.AddRange(error.Problems);
        var details = new StatusDetails { Code = (int)error.Code, Message = error.Message };
        details.Details.Add(Any.Pack(list, TypePrefix));
        return details.ToByteArray();
    }

    /// <summary>The problems that a refused call came back with; the status text as one problem when it has none.</summary>
    public static IReadOnlyList<Problem> Problems(RpcException error)
    {
        byte[]? bytes = error.Trailers.FirstOrDefault(t => t.Key == DetailsTrailer)?.ValueBytes;
        if (bytes is not null)
        {
            foreach (Any detail in StatusDetails.Parser.ParseFrom(bytes).Details)
            {
                if (detail.TryUnpack(out ProblemList list))
                {
                    return list.Problems;
                }
            }
        }
        return [new Problem { Message = error.Status.Detail.Length > 0 ? error.Status.Detail : error.StatusCode.ToString() }];
    }
}

/// <summary>Turns the exceptions of the inner layers into the statuses that the .proto file promises.</summary>
public sealed class ErrorInterceptor : Interceptor
{
    public override async Task<TResponse> UnaryServerHandler<TRequest, TResponse>(
        TRequest request, ServerCallContext context, UnaryServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            return await continuation(request, context);
        }
        catch (Exception e) when (Translate(e) is { } translated)
        {
            throw translated;
        }
    }

    public override async Task ServerStreamingServerHandler<TRequest, TResponse>(
        TRequest request, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        ServerStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(request, responseStream, context);
        }
        catch (Exception e) when (Translate(e) is { } translated)
        {
            throw translated;
        }
    }

    public override async Task DuplexStreamingServerHandler<TRequest, TResponse>(
        IAsyncStreamReader<TRequest> requestStream, IServerStreamWriter<TResponse> responseStream, ServerCallContext context,
        DuplexStreamingServerMethod<TRequest, TResponse> continuation)
    {
        try
        {
            await continuation(requestStream, responseStream, context);
        }
        catch (Exception e) when (Translate(e) is { } translated)
        {
            throw translated;
        }
    }

    private static RpcException? Translate(Exception error) => error switch
    {
        ProblemException e => Errors.ToRpc(e),
        SlowWatcherException e => new RpcException(new Status(StatusCode.OutOfRange, e.Message)),
        _ => null,
    };
}
