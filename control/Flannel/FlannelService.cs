using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Control.State.Etcd;
using Google.Protobuf.WellKnownTypes;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Flannel;

/// <summary>
/// Keeps what the switch has of flannel's network as the leases say: the containers' network, the overlays, and for each other
/// node its tunnel, neighbour and route. Everything it makes carries its name as owner; it makes again what is missing and
/// deletes what no lease asks for any more, also after a restart. None of it is stored in the cluster's store: every node
/// works it out from the leases.
/// <para>
/// Without a lease forwarding goes on, but the containers' network takes no new ports: their addresses may be another node's.
/// </para>
/// </summary>
internal sealed partial class FlannelService
{
    private readonly FlannelOptions _options;
    private readonly Controller _controller;
    private readonly TimeProvider _clock;
    private readonly ILogger _log;
    private readonly FlannelMember _member;
    private readonly TaskCompletionSource _inStep = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile FlannelView _view = FlannelView.Nothing;
    private volatile FlannelPlan? _plan;
    private volatile string _trouble = "";
    private (FlannelView View, DesiredState State, Underlay Underlay)? _done;

    /// <param name="etcd">The etcd with flannel's keys.</param>
    /// <param name="options">How this node takes part.</param>
    /// <param name="controller">The switch.</param>
    /// <param name="clock">Time.</param>
    /// <param name="log">Where to say what happens.</param>
    public FlannelService(EtcdOptions etcd, FlannelOptions options, Controller controller, TimeProvider clock, ILogger log)
    {
        (_options, _controller, _clock, _log) = (options, controller, clock, log);
        _member = new FlannelMember(etcd, options, clock, Random.Shared, log);
        _controller.Reserve(FlannelResources.Owner, "no subnet lease was taken yet");
    }

    /// <summary>Completes when the switch has all that the leases say for the first time.</summary>
    public Task InStep => _inStep.Task;

    /// <summary>What status calls say.</summary>
    public FlannelStatus Status
    {
        get
        {
            FlannelView view = _view;
            var status = new FlannelStatus
            {
                State = view.State switch { LeaseState.Held => FlannelStatus.Types.State.Leased, LeaseState.Lost => FlannelStatus.Types.State.Lost, _ => FlannelStatus.Types.State.Seeking },
                Reason = _trouble.Length > 0 ? _trouble : view.Reason,
                Prefix = _options.Prefix,
                Backend = view.Config?.BackendType ?? "",
                PublicIp = view.Node?.PublicIP?.ToString() ?? "",
                PublicIpv6 = view.Node?.PublicIPv6?.ToString() ?? "",
                Reserved = view is { State: LeaseState.Held, Lease.IsReservation: true },
                LeaseEnds = view is { State: LeaseState.Held, Lease: { } lease } && lease.Ends(_clock) is { } ends ? Timestamp.FromDateTimeOffset(ends) : null,
                Peers = (uint)(_plan?.Peers ?? 0),
            };
            status.Subnets.Add(view.Lease?.Subnets.All.Select(s => s.ToString()) ?? []);
            status.Problems.Add(_plan?.Problems ?? []);
            status.Problems.Add(view.Strangers.Select(s => $"the key {_options.Prefix}/subnets/{s} is no subnet"));
            return status;
        }
    }

    /// <summary>Follows the leases until cancelled.</summary>
    public Task RunAsync(CancellationToken cancel) => _member.RunAsync(view => TakeAsync(view, cancel), FindUnderlay, cancel);

    private async Task TakeAsync(FlannelView view, CancellationToken cancel)
    {
        Tell(view);
        if (view is not { Config: { } config, Node: { } node, Lease: { } lease })
        {
            return; // what was made before the start stays
        }
        if (FindUnderlay() is not { } underlay)
        {
            Report($"there is no routed port \"{_options.Underlay}\" to be the underlay");
            return;
        }
        if (_done is { } done && done.View == view && done.State == _controller.State && done.Underlay == underlay)
        {
            return;
        }
        try
        {
            // Planned when it has its turn: what the plan is made of does not change until it is done.
            await _controller.FollowAsync(
                () =>
                {
                    DesiredState state = _controller.State;
                    _plan = FlannelPlanner.Plan(config, node, lease.Subnets, FlannelResources.Retained(state, lease.Subnets), view.Leases, underlay);
                    return FlannelResources.Batch(_plan, underlay.Name, state);
                },
                () => _done = (view, _controller.State, underlay), cancel);
            if (view.State == LeaseState.Held)
            {
                SubnetFile.Write(_options.SubnetFile, SubnetFile.Content(config, lease.Subnets, FlannelPlanner.Mtu(config, underlay)));
            }
            _trouble = "";
            _inStep.TrySetResult();
        }
        catch (Exception e) when (e is ProblemException or IOException or UnauthorizedAccessException)
        {
            _done = null;
            Report(e is ProblemException ? $"what the leases say cannot be done here: {e.Message}" : $"{_options.SubnetFile} cannot be written: {e.Message}");
        }
    }

    /// <summary>Alarms, and whether new containers are taken.</summary>
    private void Tell(FlannelView view)
    {
        FlannelView before = _view;
        _view = view;
        _controller.Reserve(FlannelResources.Owner, view.State == LeaseState.Held ? null : view.Reason);
        if (view.State == before.State && (view.State != LeaseState.Held || view.Lease!.Subnets == before.Lease!.Subnets))
        {
            return;
        }
        if (view.State == LeaseState.Lost)
        {
            _controller.Events.Add(new Event { Type = Event.Types.Type.LeaseLost, Network = FlannelResources.PodNetwork, Text = $"{view.Reason}; forwarding goes on, new containers are refused" });
        }
        else if (view.State == LeaseState.Held)
        {
            string again = before.State == LeaseState.Lost ? (before.Lease?.Subnets == view.Lease!.Subnets ? " again" : $" in place of {before.Lease?.Subnets}") : "";
            _controller.Events.Add(new Event { Type = Event.Types.Type.LeaseTaken, Network = FlannelResources.PodNetwork, Text = $"leased {view.Lease!.Subnets}{again}" });
        }
    }

    private Underlay? FindUnderlay() =>
        _controller.State.Ports.TryGetValue(_options.Underlay, out PortEntry? port) && port.Spec.Routed is { } routed
            ? new Underlay(_options.Underlay, (int)port.Spec.MtuInForce(null), [.. routed.AddressesInForce])
            : null;

    private void Report(string trouble)
    {
        if (_trouble != trouble)
        {
            LogTrouble(trouble);
        }
        _trouble = trouble;
    }

    [LoggerMessage(Level = LogLevel.Error, Message = "flannel: {Reason}; it is tried again")]
    private partial void LogTrouble(string reason);
}
