using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Engine;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Dataplane.Memory;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Runtime;

public sealed partial class Controller
{
    private IReadOnlyList<Node> _publishedNodes = [];
    private readonly Dictionary<string, (PortStatus.Types.State, string)> _publishedStatus = new(StringComparer.Ordinal);
    private readonly Dictionary<string, (bool IsUp, string)> _publishedPeers = new(StringComparer.Ordinal);

    /// <summary>
    /// At start: brings devices, engine and segment to the state that was saved. Ports that the engine has already keep
    /// flowing, their descriptors are taken over; what is missing is made, what is not wanted is detached. A port that
    /// cannot be made is reported by its status and tried again, it does not keep the others from working.
    /// </summary>
    /// <exception cref="EngineUnavailableException">The engine went away in the midst of it.</exception>
    public Task ResumeAsync(CancellationToken cancel) => InTurn(
        () =>
        {
            Dictionary<int, AttachedPort> attached = _engine.Attached().ToDictionary(p => p.Index);
            foreach (CompiledPort port in _compiled.Ports.Values)
            {
                attached.Remove(port.Index, out AttachedPort? present);
                Adopt(port, present);
            }
            foreach (AttachedPort stranger in attached.Values)
            {
                LogDetached(stranger.Name);
                _engine.Detach(stranger.Index);
            }
            TableWriter.Outcome outcome = _tables.Commit(_compiled);
            _tablesKnown = true;
            // What an instance that crashed had bound for ports that are no more.
            GiveBackUnused();
            RouteHostAgain();
            LogResumed(_live.Count, outcome.Records, outcome.StaticMacs);
            TakeHealthSnapshot();
            PublishStatus();
            return true;
        },
        cancel);

    /// <summary>After the engine was started again: gives it every port, from the descriptors kept here.</summary>
    public Task ReattachAsync(CancellationToken cancel) => InTurn(
        () =>
        {
            foreach (LivePort live in _live.Values)
            {
                live.Attached = false;
                if (live.Spec.Kind != DeviceKind.Tap || live.Device is not null)
                {
                    TryAttach(live, recovered: false);
                }
            }
            TakeHealthSnapshot();
            PublishStatus();
            return true;
        },
        cancel);

    /// <summary>Once a second: finds devices that went away, makes lost ones again when it is time to, tells watchers of changed status.</summary>
    public Task TickAsync(CancellationToken cancel) => InTurn(
        () =>
        {
            if (_engine.WhyUnavailable is null)
            {
                foreach (LivePort live in _live.Values)
                {
                    Check(live);
                }
                RouteHostAgain();
                TakeHealthSnapshot();
            }
            PublishStatus();
            // What the last commit replaced, if no other one came since.
            _tables.Synchronize();
            return true;
        },
        cancel);

    /// <summary>Orderly end: removes every port from the engine and closes the devices. Desired state stays as it is.</summary>
    public Task TearDownAsync() => InTurn(
        () =>
        {
            foreach (LivePort live in _live.Values.ToList())
            {
                Remove(live);
            }
            GiveBackUnused();
            TakeHealthSnapshot();
            return true;
        },
        CancellationToken.None);

    private void Adopt(CompiledPort port, AttachedPort? present)
    {
        var live = new LivePort(port.Index, port.Name, port.Device);
        _live.Add(port.Index, live);
        if (present is not null && present.Spec == port.Device.EngineSpec && TryAdopt(live))
        {
            return;
        }
        if (present is not null)
        {
            _engine.Detach(port.Index);
        }
        Recover(live, recovered: false);
    }

    private bool TryAdopt(LivePort live)
    {
        if (live.Spec.Kind == DeviceKind.Tap)
        {
            try
            {
                live.Device = _devices.Adopt(live.Spec, _engine.Fds(live.Index));
                live.Device.Update(live.Spec);
            }
            catch (DeviceException e)
            {
                LogNotAdopted(live.Name, e.Message);
                live.Device?.Dispose();
                live.Device = null;
                return false;
            }
        }
        live.Attached = true;
        live.SetWorking(recovered: false);
        return true;
    }

    private void Check(LivePort live)
    {
        if (live.Health.Problem is not null)
        {
            if (_clock.GetUtcNow() >= live.NextAttempt)
            {
                Recover(live, recovered: true);
            }
            return;
        }
        string? reason = live.Device?.WhyLost();
        if (reason is null && Status.EngineState(live.Index) is PortState.Lost)
        {
            reason = $"the engine cannot use the device any more ({Status.EngineError(live.Index)})";
        }
        if (reason is not null)
        {
            Lose(live, reason);
            Recover(live, recovered: true);
        }
    }

    /// <summary>The device is gone: closes what is left of it, which lets the kernel remove a namespace that it kept.</summary>
    private void Lose(LivePort live, string reason)
    {
        _engine.Detach(live.Index);
        live.Attached = false;
        live.Device?.Dispose();
        live.Device = null;
        live.SetBroken(reason, deviceGone: true, _clock.GetUtcNow(), tryAtOnce: true);
        _tables.Flush(entry => entry.Port == live.Index);
        LogLost(live.Name, reason);
        Events.Add(new Event { Type = Event.Types.Type.PortLost, Port = live.Name, Network = NetworkOf(live), Text = $"port \"{live.Name}\" is lost: {reason}" });
    }

    private void Recover(LivePort live, bool recovered)
    {
        if (live.Spec.Kind == DeviceKind.Tap && live.Device is null)
        {
            if (_devices.Probe(live.Spec) is { } problem)
            {
                Broken(live, problem.Message, deviceGone: true);
                return;
            }
            try
            {
                live.Device = _devices.Create(live.Spec, Queues);
            }
            catch (DeviceException e)
            {
                Broken(live, e.Message, deviceGone: true);
                return;
            }
        }
        TryAttach(live, recovered);
    }

    private void TryAttach(LivePort live, bool recovered)
    {
        try
        {
            Attach(live);
        }
        catch (Exception e) when (e is EngineRefusedException or DeviceException)
        {
            Broken(live, e.Message, deviceGone: false);
            return;
        }
        live.SetWorking(recovered);
        live.Device?.Connect();
        if (recovered)
        {
            LogRecovered(live.Name);
            Events.Add(new Event { Type = Event.Types.Type.PortRecovered, Port = live.Name, Network = NetworkOf(live), Text = $"port \"{live.Name}\" works again" });
        }
    }

    private void Broken(LivePort live, string reason, bool deviceGone)
    {
        if (live.Health.Problem != reason)
        {
            LogBroken(live.Name, reason);
        }
        live.SetBroken(reason, deviceGone, _clock.GetUtcNow(), tryAtOnce: false);
    }

    /// <summary>Tells watchers of ports and tunnel peers whose state or reason changed since they were told last, and of nodes.</summary>
    private void PublishStatus()
    {
        lock (_publishing)
        {
            var changed = new List<WatchEvent>();
            foreach (PortEntry port in _state.Ports.Values)
            {
                Port now = Status.With(_state, port);
                (PortStatus.Types.State, string) state = (now.Status.State, now.Status.Reason);
                if (!_publishedStatus.TryGetValue(now.Name, out (PortStatus.Types.State, string) told) || told != state)
                {
                    _publishedStatus[now.Name] = state;
                    changed.Add(new WatchEvent { Type = WatchEvent.Types.Type.Status, Resource = ResourceKeys.Of(now), Revision = _state.Revision });
                }
            }
            foreach (PeerEntry peer in _state.Peers.Values)
            {
                TunnelPeer now = Status.With(_state, peer);
                (bool, string) state = (now.Status.State == TunnelPeerStatus.Types.State.Up, now.Status.Reason);
                if (!_publishedPeers.TryGetValue(now.Name, out (bool, string) told) || told != state)
                {
                    _publishedPeers[now.Name] = state;
                    changed.Add(new WatchEvent { Type = WatchEvent.Types.Type.Status, Resource = ResourceKeys.Of(now), Revision = _state.Revision });
                }
            }
            foreach (string gone in _publishedPeers.Keys.Where(n => !_state.Peers.ContainsKey(n)).ToList())
            {
                _publishedPeers.Remove(gone);
            }
            foreach (string gone in _publishedStatus.Keys.Where(n => !_state.Ports.ContainsKey(n)).ToList())
            {
                _publishedStatus.Remove(gone);
            }
            changed.AddRange(ChangedNodes());
            Changes.Publish(changed);
        }
    }

    private IEnumerable<WatchEvent> ChangedNodes()
    {
        IReadOnlyList<Node> nodes = Nodes.All;
        List<Node> gone = [.. _publishedNodes.Where(old => !nodes.Any(n => n.Name == old.Name))];
        List<Node> changed = [.. nodes.Except(_publishedNodes)];
        _publishedNodes = nodes;
        return gone.Select(n => (WatchEvent.Types.Type.Deleted, n)).Concat(changed.Select(n => (WatchEvent.Types.Type.Status, n)))
            .Select(e => new WatchEvent { Type = e.Item1, Resource = ResourceKeys.Of(e.Item2), Revision = _state.Revision });
    }

    private string NetworkOf(LivePort live) => _state.Ports.TryGetValue(live.Name, out PortEntry? p) ? p.Spec.Network : "";

    [LoggerMessage(Level = LogLevel.Information, Message = "Took up {Ports} ports; {Records} records and {Macs} static MACs had to be changed")]
    private partial void LogResumed(int ports, int records, int macs);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Detached port \"{Port}\", which nobody asked for")]
    private partial void LogDetached(string port);

    [LoggerMessage(Level = LogLevel.Warning, Message = "The device of port \"{Port}\" cannot be taken over and is made anew: {Reason}")]
    private partial void LogNotAdopted(string port, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Port \"{Port}\" is lost: {Reason}")]
    private partial void LogLost(string port, string reason);

    [LoggerMessage(Level = LogLevel.Information, Message = "Port \"{Port}\" works again")]
    private partial void LogRecovered(string port);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Port \"{Port}\" does not work: {Reason}; it is tried again")]
    private partial void LogBroken(string port, string reason);
}
