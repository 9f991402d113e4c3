using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Runtime;

public sealed partial class Controller
{
    /// <summary>
    /// Does what another node, or another client of a shared store, has decided. Nobody waits for an answer, and the store
    /// will not take the decision back: so a port that cannot be made does not keep the rest from being done, it is reported
    /// by its status and tried again. What contradicts the rules is refused as a whole.
    /// </summary>
    /// <param name="batch">Gives the batch in its turn, when no other commit is under way.</param>
    /// <param name="done">Called in the same turn when all of it is done.</param>
    /// <param name="cancel">Honoured until it has its turn.</param>
    /// <exception cref="ProblemException">It is refused, and nothing was changed.</exception>
    public Task FollowAsync(Func<Batch> batch, Action done, CancellationToken cancel) => InTurn(
        () =>
        {
            Follow(batch());
            done();
            return true;
        },
        cancel);

    private void Follow(Batch batch)
    {
        DesiredState before = _state;
        PlannedBatch plan = BatchPlanner.Plan(before, batch, _limits);
        if (!plan.HasEffect)
        {
            return;
        }
        if (_engine.WhyUnavailable is { } reason)
        {
            throw new ProblemException(StatusCode.Unavailable, reason);
        }
        StateChange change = plan.From(before);
        CompiledChange wanted = StateCompiler.Compile(change, _compiled, everything: !_tablesKnown, _store.Node);
        try
        {
            // Ports are told by their index: one that is made anew at the same index is another.
            List<PortStep> steps = PlanPorts(wanted.After);
            foreach (PortStep step in steps.Where(s => s.Action != PortAction.Remove))
            {
                Follow(step);
            }
            _store.Adopt(change);
            _tables.Commit(wanted);
            _tablesKnown = true;
            _compiled = wanted.After;
            foreach (PortStep step in steps.Where(s => s.Action == PortAction.Remove))
            {
                Finish(step);
            }
            RouteHost(wanted.HostRoutes);
        }
        catch (Exception e)
        {
            _tablesKnown = false;
            throw Explain(e, null);
        }
        finally
        {
            TakeHealthSnapshot();
        }
        Publish(plan);
        LogFollowed(plan.Changes.Count(c => c.HasEffect));
    }

    private void Follow(PortStep step)
    {
        CompiledPort port = step.Wanted!;
        if (step.Action == PortAction.Update)
        {
            LivePort live = step.Live!;
            live.Spec = port.Device;
            try
            {
                live.Device?.Update(port.Device);
            }
            catch (DeviceException e)
            {
                Broken(live, e.Message, deviceGone: false);
            }
            return;
        }
        if (step.Action == PortAction.Replace)
        {
            Remove(step.Live!);
        }
        var made = new LivePort(port.Index, port.Name, port.Device);
        _live.Add(port.Index, made);
        Recover(made, recovered: false);
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "Followed {Changed} changes of the store")]
    private partial void LogFollowed(int changed);
}
