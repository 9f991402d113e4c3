using Dataplane.Control.Compiler;
using Dataplane.Control.Ports;
using Dataplane.Control.State;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Runtime;

public sealed partial class Controller
{
    /// <summary>
    /// Brings the host's routes in step after a commit. They are the kernel's, where others may be in the way: what cannot be set
    /// refuses no batch, it is told in the log and tried again every second.
    /// </summary>
    private void RouteHost(CompiledHostRoutes? change)
    {
        if (change is null)
        {
            foreach (LivePort live in _live.Values)
            {
                live.HostRoutesKnown = false;
            }
            RouteHostAgain();
            return;
        }
        foreach (IGrouping<int, (Cidr Prefix, bool Add)> port in change.Add.Count + change.Remove.Count == 0 ? [] : change.Add.Select(r => (r.Port, r.Prefix, Add: true))
            .Concat(change.Remove.Select(r => (r.Port, r.Prefix, Add: false))).GroupBy(r => r.Port, r => (r.Prefix, r.Add)))
        {
            if (_live.TryGetValue(port.Key, out LivePort? live) && live.HostRoutesKnown)
            {
                Route(live, [.. port.Where(r => r.Add).Select(r => r.Prefix)], [.. port.Where(r => !r.Add).Select(r => r.Prefix)]);
            }
        }
        RouteHostAgain();
    }

    /// <summary>Sets all routes of host ports whose device is new, or where something went wrong.</summary>
    private void RouteHostAgain()
    {
        List<LivePort> unknown = [.. _live.Values.Where(l => l.Device is not null && !l.HostRoutesKnown)];
        if (unknown.Count == 0)
        {
            return;
        }
        ILookup<int, Cidr>? wanted = null;
        foreach (LivePort live in unknown)
        {
            if (live.Spec.RouterMac is null && !live.HostRoutesMade)
            {
                live.HostRoutesKnown = true;
                continue;
            }
            wanted ??= _compiled.HostRoutes.ToLookup(r => r.Port, r => r.Prefix);
            Route(live, [.. wanted[live.Index]], remove: null);
        }
    }

    private void Route(LivePort live, IReadOnlyCollection<Cidr> add, IReadOnlyCollection<Cidr>? remove)
    {
        try
        {
            live.Device!.Route(add, remove);
            (live.HostRoutesKnown, live.HostRoutesMade) = (true, live.Spec.RouterMac is not null);
            live.HostRoutesProblem = null;
        }
        catch (DeviceException e)
        {
            live.HostRoutesKnown = false;
            if (live.HostRoutesProblem != e.Message)
            {
                LogHostRoutes(live.Name, e.Message);
            }
            live.HostRoutesProblem = e.Message;
        }
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "The host's routes by way of port \"{Port}\" are not all set, and are tried again: {Reason}")]
    private partial void LogHostRoutes(string port, string reason);
}
