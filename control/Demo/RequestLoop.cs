namespace Dataplane.Control.Demo;

/// <summary>A client that asks the service again and again, each time by a connection of its own, until it is stopped.</summary>
internal sealed class RequestLoop : IAsyncDisposable
{
    /// <summary>Requests of one run of curl.</summary>
    private const int Burst = 20;

    private readonly CancellationTokenSource _stop;
    private readonly Task _task;
    private int _answered, _failed;

    public RequestLoop(Node client, CancellationToken cancel)
    {
        _stop = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        _task = RunAsync(client, _stop.Token);
    }

    public int Answered => Volatile.Read(ref _answered);

    public int Failed => Volatile.Read(ref _failed);

    /// <summary>Why the first request failed that did; null when none did.</summary>
    public string? Problem { get; private set; }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _task;
        _stop.Dispose();
    }

    private async Task RunAsync(Node client, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                WebAnswers answers = await Tools.CurlAsync(client, ServicesPlan.Url, Burst, stop);
                Interlocked.Add(ref _answered, answers.Lines.Count);
                Interlocked.Add(ref _failed, Burst - answers.Lines.Count);
                Problem ??= answers.Problem;
            }
        }
        catch (OperationCanceledException)
        {
            // It is stopped.
        }
    }
}
