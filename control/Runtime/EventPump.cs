using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Control.Runtime;

/// <summary>Empties the workers' event rings into the event log, with names in place of indices.</summary>
public sealed class EventPump(Segment segment, Func<DesiredState> state, EventLog log)
{
    /// <summary>Takes what is there. Gives how many; the only reader of the rings calls it.</summary>
    public int Pump()
    {
        int taken = 0;
        for (int worker = 0; worker < segment.MaxWorkers; worker++)
        {
            while (EventRing.TryRead(ref segment.Events(worker), out EventRecord record))
            {
                if (Describe(record) is { } what)
                {
                    log.Add(what);
                }
                taken++;
            }
        }
        return taken;
    }

    private Event? Describe(EventRecord record)
    {
        DesiredState now = state();
        string port = now.PortName(record.Port) ?? $"#{record.Port}";
        string network = now.NetworkName(record.Bridge) ?? "";
        var what = new Event { Port = port, Network = network, Vlan = record.Vlan };
        string mac = new MacAddress(record.Mac).ToString();
        string vlan = record.Vlan == 0 ? "" : $" VLAN {record.Vlan}";
        switch (record.Kind)
        {
            case EventKind.MacFlap:
                what.Type = Event.Types.Type.MacFlap;
                what.Mac = mac;
                what.OtherPort = now.PortName(record.OtherPort) ?? $"#{record.OtherPort}";
                what.Text = $"{mac} moves to and fro between ports \"{what.OtherPort}\" and \"{port}\" of network \"{network}\"{vlan}: a loop, or a duplicate address";
                return what;
            case EventKind.BpduGuard:
                what.Type = Event.Types.Type.BpduGuard;
                what.Text = $"port \"{port}\" received a bridge protocol data unit and was disabled; enable it with: dataplane port enable {port}";
                return what;
            case EventKind.LearnLimit:
                what.Type = Event.Types.Type.LearnLimit;
                what.Text = $"a limit on learned addresses was reached on port \"{port}\" of network \"{network}\"";
                return what;
            default:
                // That a port was lost is told by the controller, which knows why.
                return null;
        }
    }
}
