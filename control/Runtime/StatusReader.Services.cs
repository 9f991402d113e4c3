using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Runtime;

public sealed unsafe partial class StatusReader
{
    public Service With(DesiredState state, ServiceEntry entry)
    {
        Service copy = entry.Spec.Clone();
        var status = new ServiceStatus { Number = entry.Number };
        int local = 0;
        foreach (Backend backend in state.Services.BackendsOf(copy.Name).Values)
        {
            bool serves = backend.State != Backend.Types.State.Down && backend.WeightInForce > 0;
            status.Ready += backend.State == Backend.Types.State.Ready ? 1u : 0;
            status.Draining += backend.State == Backend.Types.State.Draining ? 1u : 0;
            status.Down += backend.State == Backend.Types.State.Down ? 1u : 0;
            if (backend.Node.Length > 0 && backend.Node == node)
            {
                status.Local++;
                local += serves ? 1 : 0;
            }
            status.State = serves ? ServiceStatus.Types.State.Ready : status.State;
        }
        (status.State, status.Reason) = Judge(state, copy, status.State == ServiceStatus.Types.State.Ready, local > 0);
        copy.Status = status;
        return copy;
    }

    public PublishedPort With(DesiredState state, PublishedEntry entry)
    {
        PublishedPort copy = entry.Spec.Clone();
        List<IPAddress> containers = [.. copy.ContainersInForce(state)];
        copy.Status = new PublishedPortStatus
        {
            HostPort = entry.HostPort,
            At = { copy.HostAddressesInForce(state).Where(a => containers.Exists(c => c.AddressFamily == a.AddressFamily)).Select(a => At(a, entry.HostPort)) },
            To = { containers.Select(a => At(a, entry.TargetPort)) },
        };
        return copy;
    }

    private static (ServiceStatus.Types.State State, string Reason) Judge(DesiredState state, Service service, bool serves, bool servesHere)
    {
        bool within = service.ClusterIps.Count > 0 && (service.InternalPolicy == Service.Types.Policy.Cluster ? serves : servesHere);
        bool outside = service.ExternalPolicy == Service.Types.Policy.Cluster ? serves : servesHere;
        bool isOutside = service.ExternalIps.Count + service.LoadBalancerIps.Count > 0 || service.Ports.Any(p => p.NodePort != 0);
        if (!service.VrfsInForce.Any(state.Topology.Vrfs.ContainsKey))
        {
            return (ServiceStatus.Types.State.Absent, $"this node has none of its VRFs ({string.Join(", ", service.VrfsInForce)})");
        }
        if (!serves)
        {
            return (ServiceStatus.Types.State.NoBackends, "no backend takes connections: they are refused");
        }
        if (!within && !(isOutside && outside))
        {
            return (ServiceStatus.Types.State.NoBackends, "no backend of this node takes connections: they are refused");
        }
        string partly = service.ClusterIps.Count > 0 && !within ? "no backend of this node takes connections to cluster IPs: they are refused"
            : isOutside && !outside ? "no backend of this node takes connections from outside: they are refused"
            : "";
        return (ServiceStatus.Types.State.Ready, partly);
    }

    /// <summary>"192.0.2.10:80", "[2001:db8::1]:80".</summary>
    private static string At(IPAddress address, ushort port) => new IPEndPoint(address, port).ToString();
}
