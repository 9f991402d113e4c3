using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    /// <summary>Of Kubernetes' names of pods.</summary>
    private const int MaxBackendId = 253;

    private static void CheckBackend(DesiredState state, Backend backend, ProblemCollector problems)
    {
        string id = ResourceKeys.SplitBackend(backend.Name).Id;
        if (backend.Service.Length == 0)
        {
            Report("service", "is of no service", "name the service it serves");
        }
        else if (!IsBackendId(id))
        {
            Report("name", $"behind the service, the name of a backend has 1 to {MaxBackendId} characters of A-Z a-z 0-9 . _ : -", "leave it empty: it is made from service and address");
        }
        ServiceEntry? service = state.Services.Services.GetValueOrDefault(backend.Service);
        if (backend.Service.Length > 0 && service is null)
        {
            Report("service", $"service \"{backend.Service}\" does not exist", "services: " + ListNames(state.Services.Services.Keys));
        }
        if (!Cidr.TryParseAddress(backend.Address, out IPAddress? address))
        {
            Report("address", $"\"{backend.Address}\" is not an IP address", backend.Address.Contains('/') ? "leave the prefix length out" : "");
        }
        else if (!IsHostAddress(address))
        {
            Report("address", $"{address} cannot be the address of a backend");
        }
        else if (service is not null)
        {
            CheckBackendFits(state, backend, service.Spec, address, Report);
        }
        if (backend.WeightInForce > ushort.MaxValue)
        {
            Report("weight", $"weight {backend.Weight} is above {ushort.MaxValue}");
        }
        if (!Enum.IsDefined(backend.State))
        {
            Report("state", $"{(int)backend.State} is no state of a backend", "READY, DRAINING, DOWN");
        }
        if (backend.Node.Length > 0 && !IsName(backend.Node))
        {
            Report("node", $"\"{backend.Node}\" is no name of a node");
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.Backend, backend.Name, field, message, fix);
    }

    private static void CheckBackendFits(DesiredState state, Backend backend, Service service, IPAddress address, Report report)
    {
        List<IPAddress> vips = [.. service.AddressesInForce.Select(a => a.Address)];
        if (vips.Contains(address) || service.VrfsInForce.Any(vrf => state.Services.Vips.ContainsKey(new VipKey(vrf, address))))
        {
            report("address", $"{address} is itself the address of a service", "name the address of a server");
        }
        else if (vips.Count > 0 && service.Ports.All(p => p.NodePort == 0) && vips.All(v => v.AddressFamily != address.AddressFamily))
        {
            report("address", $"{address} is {Family(address)}, service \"{service.Name}\" has no such address ({string.Join(", ", vips.Take(4))})");
        }
        for (int i = 0; i < backend.Ports.Count; i++)
        {
            BackendPort port = backend.Ports[i];
            string field = $"ports[{i}]";
            if (!service.Ports.Any(p => p.Name == port.Name))
            {
                report($"{field}.name", $"service \"{service.Name}\" has no port \"{port.Name}\"", "ports: " + ListNames(service.Ports.Select(p => p.Name.Length > 0 ? p.Name : "(without a name)")));
            }
            else if (service.Dsr && port.Port != service.Ports.First(p => p.Name == port.Name).Port)
            {
                report($"{field}.port", $"service \"{service.Name}\" has dsr, so packets come to its own port", "leave it out");
            }
            if (backend.Ports.Take(i).Any(p => p.Name == port.Name))
            {
                report($"{field}.name", $"port \"{port.Name}\" is named twice");
            }
            CheckPortNumber(port.Port, $"{field}.port", report);
        }
    }

    /// <summary>No two backends of a service are the same server. Once per service and batch: a service may have thousands.</summary>
    private static void CheckBackendsDiffer(DesiredState state, string service, ProblemCollector problems)
    {
        if (!state.Services.Services.TryGetValue(service, out ServiceEntry? entry))
        {
            return;
        }
        var servers = new Dictionary<(string, string, uint), string>();
        foreach (Backend backend in state.Services.BackendsOf(service).Values)
        {
            foreach (ServicePort port in entry.Spec.Ports)
            {
                if (!servers.TryAdd((backend.Address, port.Name, backend.PortInForce(port)), backend.Name))
                {
                    string other = servers[(backend.Address, port.Name, backend.PortInForce(port))];
                    problems.Add(Kind.Backend, backend.Name, "address", $"{backend.Address} port {backend.PortInForce(port)} is also that of backend \"{other}\"", "delete one of the two");
                    break;
                }
            }
        }
    }

    private static bool IsBackendId(string id) => id.Length is > 0 and <= MaxBackendId && id.All(c => char.IsAsciiLetterOrDigit(c) || c is '.' or '_' or ':' or '-');
}
