using System.Threading.Channels;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Api;

/// <summary>
/// One call of Resources.Push. While a batch is committed the next ones are read and decoded, but only a few: then nothing
/// more is read, HTTP/2's window runs full, and the caller waits. The same happens when it does not read its responses,
/// because the next batch begins after the response to the one before was taken.
/// </summary>
/// <param name="controller">Commits the batches.</param>
/// <param name="responses">Where they are answered.</param>
/// <param name="waitForShare">Waits until the caller may change something again.</param>
internal sealed class PushSession(Controller controller, IServerStreamWriter<PushResponse> responses, Func<CancellationToken, Task> waitForShare)
{
    /// <summary>Batches read ahead. One would do to keep the disk busy; a few even out batches of different sizes.</summary>
    private const int ReadAhead = 4;

    /// <summary>Answers batches until the caller has no more.</summary>
    /// <exception cref="RpcException">A batch was refused that asked to stop then, or one cannot be read.</exception>
    public async Task RunAsync(IAsyncStreamReader<PushRequest> requests, CancellationToken cancel)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        var batches = Channel.CreateBounded<PushRequest>(new BoundedChannelOptions(ReadAhead) { SingleReader = true, SingleWriter = true });
        Task reading = ReadAsync(requests, batches.Writer, ending.Token);
        try
        {
            await foreach (PushRequest request in batches.Reader.ReadAllAsync(cancel))
            {
                await waitForShare(cancel);
                PushResponse response = await CommitAsync(request, cancel);
                await responses.WriteAsync(response, cancel);
                if (request.StopOnError && response.Refusal is { } refusal)
                {
                    throw new RpcException(new Status(StatusCode.Aborted, $"batch {request.Sequence} was refused: {ProblemText.Line(refusal.Problems[0])}"));
                }
            }
        }
        finally
        {
            await ending.CancelAsync();
            await reading;
        }
    }

    /// <summary>Never throws: what goes wrong is found by the reader of the channel, behind the batches read before.</summary>
    private static async Task ReadAsync(IAsyncStreamReader<PushRequest> requests, ChannelWriter<PushRequest> batches, CancellationToken cancel)
    {
        try
        {
            while (await requests.MoveNext(cancel))
            {
                await batches.WriteAsync(requests.Current, cancel);
            }
            batches.TryComplete();
        }
        catch (Exception e)
        {
            batches.TryComplete(e);
        }
    }

    private async Task<PushResponse> CommitAsync(PushRequest request, CancellationToken cancel)
    {
        var batch = new Batch { Apply = request.Resources, Delete = request.Delete, IgnoreMissing = request.IgnoreMissing, Owned = true };
        var response = new PushResponse { Sequence = request.Sequence };
        try
        {
            CommitResult result = await controller.CommitAsync(batch, dryRun: false, cancel);
            response.Revision = result.Revision;
            response.Changed = (uint)result.Changed;
        }
        catch (ProblemException e)
        {
            response.Revision = controller.State.Revision;
            response.Refusal = new Refusal { Code = (int)e.Code };
            response.Refusal.Problems.AddRange(e.Problems);
        }
        return response;
    }
}
