using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Core;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Runtime;

public sealed partial class Controller
{
    private enum PortAction
    {
        /// <summary>Make the device, attach it.</summary>
        Create,
        /// <summary>Another device takes the old one's place at the same index.</summary>
        Replace,
        /// <summary>Other settings of the same device.</summary>
        Update,
        /// <summary>Detach, and close after the commit.</summary>
        Remove,
    }

    /// <summary>One port's part of a batch.</summary>
    private sealed class PortStep(PortAction action, LivePort? live, CompiledPort? wanted)
    {
        public PortAction Action { get; } = action;
        public LivePort? Live { get; } = live;
        public CompiledPort? Wanted { get; } = wanted;

        /// <summary>The device that this step put out of use.</summary>
        public IPortDevice? Retired { get; set; }

        public string Name => Wanted?.Name ?? Live!.Name;

        public string AttachmentField => Wanted?.Device.Kind switch
        {
            DeviceKind.Tap => "tap",
            DeviceKind.Netdev => "netdev.device",
            DeviceKind.Dpdk => "dpdk.devargs",
            DeviceKind.Pcap => "pcap",
            _ => "",
        };
    }

    private List<PortStep> PlanPorts(CompiledState wanted)
    {
        var steps = new List<PortStep>();
        foreach (LivePort live in _live.Values.Where(l => !wanted.Ports.ContainsKey(l.Index)))
        {
            steps.Add(new PortStep(PortAction.Remove, live, null));
        }
        foreach (CompiledPort port in wanted.Ports.Values)
        {
            if (!_live.TryGetValue(port.Index, out LivePort? live))
            {
                steps.Add(new PortStep(PortAction.Create, null, port));
            }
            else if (!live.Spec.IsSame(port.Device))
            {
                // A driver takes its MTU when it is attached; a TAP device's settings can be changed under way.
                bool sameTap = port.Device.Kind == DeviceKind.Tap && live.Spec.IsSameDevice(port.Device);
                steps.Add(new PortStep(sameTap ? PortAction.Update : PortAction.Replace, live, port));
            }
        }
        return steps;
    }

    /// <summary>Asks the kernel about every new device before the first one is made, so that all problems are reported at once.</summary>
    private void Probe(List<PortStep> steps)
    {
        var problems = new ProblemCollector();
        foreach (PortStep step in steps.Where(s => s.Action is PortAction.Create or PortAction.Replace))
        {
            DeviceSpec device = step.Wanted!.Device;
            if ((device.Kind is DeviceKind.Tap or DeviceKind.Netdev ? _devices.Probe(device) : _pci.Probe(device)) is { } problem)
            {
                problems.Add(Kind.Port, step.Name, problem.Field, problem.Message, problem.Fix, StatusCode.FailedPrecondition);
            }
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }
    }

    private void Perform(PortStep step, UndoStack undo)
    {
        switch (step.Action)
        {
            case PortAction.Create:
                Create(step.Wanted!, undo);
                break;
            case PortAction.Replace:
                Replace(step, undo);
                break;
            case PortAction.Update:
                Update(step.Live!, step.Wanted!.Device, undo);
                break;
        }
    }

    private void Create(CompiledPort port, UndoStack undo)
    {
        var live = new LivePort(port.Index, port.Name, port.Device) { Device = MakeDevice(port.Device) };
        undo.Push(() => live.Device?.Dispose());
        Attach(live);
        undo.Push(() => _engine.Detach(live.Index));
        live.SetWorking(recovered: false);
        _live.Add(live.Index, live);
        undo.Push(() => _live.Remove(live.Index));
    }

    private void Replace(PortStep step, UndoStack undo)
    {
        LivePort live = step.Live!;
        DeviceSpec oldSpec = live.Spec;
        IPortDevice? oldDevice = live.Device;
        bool wasAttached = live.Attached;

        IPortDevice? device = MakeDevice(step.Wanted!.Device);
        undo.Push(() => device?.Dispose());
        undo.Push(() =>
        {
            // Also when the attachment of the new one was what failed: nothing is attached then.
            _engine.Detach(live.Index);
            live.Spec = oldSpec;
            live.Device = oldDevice;
            live.Attached = false;
            if (wasAttached)
            {
                Attach(live);
                live.SetWorking(recovered: false);
            }
        });
        _engine.Detach(live.Index);
        live.Attached = false;
        live.Spec = step.Wanted.Device;
        live.Device = device;
        Attach(live);
        live.SetWorking(recovered: false);
        step.Retired = oldDevice;
    }

    private void Update(LivePort live, DeviceSpec spec, UndoStack undo)
    {
        DeviceSpec oldSpec = live.Spec;
        live.Spec = spec;
        undo.Push(() =>
        {
            live.Spec = oldSpec;
            live.Device?.Update(oldSpec);
        });
        live.Device?.Update(spec);
    }

    /// <summary>After the commit: packets may come from what is new, and none goes to or comes from what is taken down.</summary>
    private void Finish(PortStep step)
    {
        if (step.Wanted is { } port)
        {
            _live[port.Index].Device?.Connect();
        }
        step.Retired?.Dispose();
        if (step.Action == PortAction.Remove)
        {
            Remove(step.Live!);
        }
    }

    private void Remove(LivePort live)
    {
        _live.Remove(live.Index);
        try
        {
            _engine.Detach(live.Index);
        }
        catch (Engine.EngineUnavailableException)
        {
            // An engine that is gone has nothing attached; a new one is given what is in _live.
        }
        live.Device?.Dispose();
        // The block was the old port's, not that of the next one at this index.
        Status.ClearErrDisabled(live.Index, PortState.Detached);
    }

    private IPortDevice? MakeDevice(DeviceSpec spec) => spec.Kind == DeviceKind.Tap ? _devices.Create(spec, Queues) : null;

    private void Attach(LivePort live)
    {
        _pci.Prepare(live.Spec, live.Name);
        _engine.Attach(live.Index, live.Name, live.Spec, live.Device?.Fds ?? []);
        live.Attached = true;
    }

    /// <summary>After ports came or went: PCI functions that were bound for a port and are no port's now are the kernel's again.</summary>
    private void GiveBackUnused(List<PortStep> steps)
    {
        if (steps.Any(s => s.Live?.Spec.PciAddress is not null || s.Wanted?.Device.PciAddress is not null))
        {
            GiveBackUnused();
        }
    }

    private void GiveBackUnused()
    {
        foreach (string problem in _pci.GiveBack(_live.Values.Select(l => l.Spec.PciAddress).OfType<string>().ToHashSet(StringComparer.Ordinal)))
        {
            LogNotGivenBack(problem);
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "A device is not given back to the kernel: {Problem}")]
    private partial void LogNotGivenBack(string problem);

    private void TakeHealthSnapshot() => _health = _live.ToDictionary(l => l.Key, l => l.Value.Health);
}
