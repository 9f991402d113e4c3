using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Grpc.Core;

namespace Dataplane.Control.Api;

/// <summary>The service Mac.</summary>
public sealed class MacService(Controller controller) : V1.Mac.MacBase
{
    public override async Task<FlushResponse> Flush(FlushRequest request, ServerCallContext context) =>
        new() { Flushed = (uint)await controller.FlushAsync(request.Network, request.Port, request.Vlan, context.CancellationToken) };
}

/// <summary>The service Admin.</summary>
public sealed class AdminService(Controller controller, StopRequests stop) : Admin.AdminBase
{
    public override Task<Port> EnablePort(EnablePortRequest request, ServerCallContext context) =>
        controller.EnablePortAsync(request.Port, context.CancellationToken);

    public override Task<QueueList> AssignQueue(AssignQueueRequest request, ServerCallContext context) =>
        controller.AssignQueueAsync(request.Port, request.Queue, request.Worker, context.CancellationToken);

    public override Task<StopResponse> Stop(StopRequest request, ServerCallContext context)
    {
        stop.Request(request.KeepEngine);
        return Task.FromResult(new StopResponse());
    }
}

/// <summary>Where a caller's wish to end the daemon meets the daemon.</summary>
public sealed class StopRequests
{
    private readonly TaskCompletionSource<bool> _request = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Completes with whether the engine is to go on.</summary>
    public Task<bool> Requested => _request.Task;

    public void Request(bool keepEngine) => _request.TrySetResult(keepEngine);
}
