using System.Threading.Channels;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Api;

/// <summary>
/// One call of Resources.Push, as a line of three: one reads and decodes batches, one hands them to the controller, which commits what
/// waits together (<see cref="Controller"/>), and one answers them in order. Between them there is little room: a caller that does not
/// read its responses soon has no batch taken from it, then none read; HTTP/2's window runs full, and it waits.
/// </summary>
/// <param name="controller">Commits the batches.</param>
/// <param name="responses">Where they are answered.</param>
/// <param name="waitForShare">Waits until the caller may change something again.</param>
internal sealed class PushSession(Controller controller, IServerStreamWriter<PushResponse> responses, Func<CancellationToken, Task> waitForShare)
{
    /// <summary>Batches that are decoded and have not begun.</summary>
    private const int ReadAhead = 2;

    /// <summary>Batches that have begun and are not answered, and resources in them; one batch at least.</summary>
    private const int MostBegun = 16, MostBegunResources = 16_384;

    /// <summary>To begin a batch takes no time: it goes on in the thread that has read it, and does not wait until another one wakes.</summary>
    private readonly Channel<PushRequest> _read = Channel.CreateBounded<PushRequest>(
        new BoundedChannelOptions(ReadAhead) { SingleReader = true, SingleWriter = true, AllowSynchronousContinuations = true });
    private readonly Channel<Begun> _begun = Channel.CreateBounded<Begun>(new BoundedChannelOptions(MostBegun) { SingleReader = true, SingleWriter = true });
    private readonly SemaphoreSlim _answered = new(0);
    private int _begunResources;

    private readonly record struct Begun(PushRequest Request, Task<PushResponse> Response)
    {
        public int Size => Request.Resources.Count + Request.Delete.Count;
    }

    /// <summary>Answers batches until the caller has no more.</summary>
    /// <exception cref="RpcException">A batch was refused that asked to stop then, or one cannot be read.</exception>
    public async Task RunAsync(IAsyncStreamReader<PushRequest> requests, CancellationToken cancel)
    {
        using var ending = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        Task reading = PassOnAsync(_read.Writer, () => ReadAsync(requests, ending.Token));
        Task beginning = PassOnAsync(_begun.Writer, () => BeginAsync(ending.Token));
        try
        {
            await foreach (Begun batch in _begun.Reader.ReadAllAsync(cancel))
            {
                PushResponse response = await batch.Response;
                await responses.WriteAsync(response, cancel);
                Interlocked.Add(ref _begunResources, -batch.Size);
                _answered.Release();
                if (batch.Request.StopOnError && response.Refusal is { } refusal)
                {
                    throw new RpcException(new Status(StatusCode.Aborted, $"batch {batch.Request.Sequence} was refused: {ProblemText.Line(refusal.Problems[0])}"));
                }
            }
        }
        finally
        {
            await ending.CancelAsync();
            await reading;
            await beginning;
            _answered.Dispose();
        }
    }

    /// <summary>Never throws: what goes wrong is found by the reader of the channel, behind what came before.</summary>
    private static async Task PassOnAsync<T>(ChannelWriter<T> to, Func<Task> work)
    {
        try
        {
            await work();
            to.TryComplete();
        }
        catch (Exception e)
        {
            to.TryComplete(e);
        }
    }

    private async Task ReadAsync(IAsyncStreamReader<PushRequest> requests, CancellationToken cancel)
    {
        while (await requests.MoveNext(cancel))
        {
            await _read.Writer.WriteAsync(requests.Current, cancel);
        }
    }

    private async Task BeginAsync(CancellationToken cancel)
    {
        await foreach (PushRequest request in _read.Reader.ReadAllAsync(cancel))
        {
            await waitForShare(cancel);
            while (Volatile.Read(ref _begunResources) is > 0 and var others && others + request.Resources.Count + request.Delete.Count > MostBegunResources)
            {
                await _answered.WaitAsync(cancel);
            }
            var batch = new Begun(request, CommitAsync(request, cancel));
            Interlocked.Add(ref _begunResources, batch.Size);
            await _begun.Writer.WriteAsync(batch, cancel);
            if (request.StopOnError && (await batch.Response).Refusal is not null)
            {
                // No later one is looked at.
                return;
            }
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
            response.Revision = e.Revision ?? controller.State.Revision;
            response.Refusal = new Refusal { Code = (int)e.Code };
            response.Refusal.Problems.AddRange(e.Problems);
        }
        return response;
    }
}
