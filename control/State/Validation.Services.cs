using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    /// <summary>A year.</summary>
    private const uint MaxIdle = 31_536_000;

    private static void CheckService(DesiredState state, Service service, ProblemCollector problems)
    {
        CheckName(Kind.Service, service.Name, problems);
        CheckVrfNames(service, Report);
        HashSet<IPAddress> known = [];
        CheckServiceAddresses(state, service, service.ClusterIps, "cluster_ips", known, Report);
        CheckServiceAddresses(state, service, service.ExternalIps, "external_ips", known, Report);
        CheckServiceAddresses(state, service, service.LoadBalancerIps, "load_balancer_ips", known, Report);
        if (service.ClusterIps.Count + service.ExternalIps.Count + service.LoadBalancerIps.Count == 0 && service.Ports.All(p => p.NodePort == 0))
        {
            Report("cluster_ips", "is reached nowhere", "give cluster_ips, external_ips, load_balancer_ips, or a port's node_port");
        }
        CheckServicePorts(service, Report);
        for (int i = 0; i < service.Ports.Count; i++)
        {
            CheckPortIsFree(state, service, i, Report);
        }
        CheckChoices(service, Report);
        CheckDirectReturn(service, Report);
        foreach ((string field, uint seconds) in Idle(service).Where(i => i.Seconds > MaxIdle))
        {
            Report(field, $"{seconds} s is above {MaxIdle} s, a year", "leave it out for the default");
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.Service, service.Name, field, message, fix);
    }

    private static void CheckVrfNames(Service service, Report report)
    {
        for (int i = 0; i < service.Vrfs.Count; i++)
        {
            string field = $"vrfs[{i}]";
            if (service.Vrfs[i].Length == 0)
            {
                report(field, "is empty", "leave vrfs out for VRF \"main\"");
            }
            CheckVrfName(service.Vrfs[i], field, report);
            if (service.Vrfs.Take(i).Contains(service.Vrfs[i]))
            {
                report(field, $"VRF \"{service.Vrfs[i]}\" is named twice");
            }
        }
    }

    private static void CheckServiceAddresses(DesiredState state, Service service, IList<string> addresses, string list, HashSet<IPAddress> known, Report report)
    {
        for (int i = 0; i < addresses.Count; i++)
        {
            string field = $"{list}[{i}]";
            if (!Cidr.TryParseAddress(addresses[i], out IPAddress? address))
            {
                report(field, $"\"{addresses[i]}\" is not an IP address", addresses[i].Contains('/') ? "leave the prefix length out" : "");
                continue;
            }
            if (!IsHostAddress(address))
            {
                report(field, $"{address} cannot be the address of a service");
            }
            if (!known.Add(address))
            {
                report(field, $"address {address} is named twice");
            }
            if (list == "cluster_ips")
            {
                CheckClusterIp(state, service, address, field, report);
            }
        }
    }

    private static void CheckClusterIp(DesiredState state, Service service, IPAddress address, string field, Report report)
    {
        if (service.VrfsInForce.FirstOrDefault(vrf => state.Topology.IsOwn(vrf, address)) is { } vrf)
        {
            string name = state.Topology.Interfaces.First(i => i.Vrf == vrf && i.Addresses.Any(a => a.Address.Equals(address))).Name;
            report(field, $"{address} is the switch's own address, on \"{name}\"", "take one of no network; an address of the node may be one of external_ips");
        }
        else if (state.Networks.Values.FirstOrDefault(n => n.Spec.Prefixes.Any(p => p.Contains(address))) is { } network)
        {
            report(field, $"{address} is in network \"{network.Spec.Name}\" ({string.Join(", ", network.Spec.Subnets)}), whose hosts would look for it on their link",
                "take an address of no network");
        }
    }

    private static void CheckServicePorts(Service service, Report report)
    {
        if (service.Ports.Count == 0)
        {
            report("ports", "has no port", "give at least one, as in ports: [{port: 80}]");
        }
        for (int i = 0; i < service.Ports.Count; i++)
        {
            ServicePort port = service.Ports[i];
            string field = $"ports[{i}]";
            if (port.Name.Length > 0 && !IsName(port.Name))
            {
                report($"{field}.name", $"\"{port.Name}\" is no name: 1 to {MaxName} characters of A-Z a-z 0-9 . _ - that begin with a letter or a digit");
            }
            else if (service.Ports.Count > 1 && port.Name.Length == 0)
            {
                report($"{field}.name", "has no name, and there are others", "name each port of a service that has several");
            }
            else if (service.Ports.Take(i).Any(p => p.Name == port.Name))
            {
                report($"{field}.name", $"two ports are called \"{port.Name}\"");
            }
            if (!Enum.IsDefined(port.Protocol))
            {
                report($"{field}.protocol", $"{(int)port.Protocol} is no protocol", "TCP, UDP, SCTP");
            }
            CheckPortNumber(port.Port, $"{field}.port", report);
            CheckPortNumber(port.TargetPort == 0 ? 1 : port.TargetPort, $"{field}.target_port", report);
            CheckPortNumber(port.NodePort == 0 ? 1 : port.NodePort, $"{field}.node_port", report);
            if (service.Ports.Take(i).Any(p => p.Protocol == port.Protocol && p.Port == port.Port))
            {
                report($"{field}.port", $"{port.Protocol.Word} port {port.Port} is named twice");
            }
            if (port.NodePort != 0 && service.Ports.Take(i).Any(p => p.Protocol == port.Protocol && p.NodePort == port.NodePort))
            {
                report($"{field}.node_port", $"{port.Protocol.Word} node port {port.NodePort} is named twice");
            }
        }
    }

    /// <summary>Nobody else has a port at any of the service's addresses, or at the node.</summary>
    private static void CheckPortIsFree(DesiredState state, Service service, int i, Report report)
    {
        ServicePort port = service.Ports[i];
        string what = port.Protocol.Word;
        foreach (VipKey vip in service.Vips)
        {
            foreach (string other in state.Services.Vips.GetValueOrDefault(vip, []).Where(o => o != service.Name))
            {
                if (state.Services.Services[other].Spec.Ports.Any(p => p.Protocol == port.Protocol && p.Port == port.Port))
                {
                    report($"ports[{i}].port", $"{what} port {port.Port} of {vip.Address} is that of service \"{other}\"{InVrf(vip.Vrf)}", "take another port or address");
                }
            }
            if (state.Topology.IsOwn(vip.Vrf, vip.Address) && port.Port <= ushort.MaxValue)
            {
                var key = new HostPortKey(vip.Vrf, port.Protocol, (ushort)port.Port);
                if (HolderAt(state, key, vip.Address, default) is { } holder)
                {
                    report($"ports[{i}].port", $"{what} port {port.Port} of {vip.Address} is taken by {holder}", "take another port or address");
                }
            }
        }
        if (port.NodePort is 0 or > ushort.MaxValue)
        {
            return;
        }
        foreach (string vrf in service.VrfsInForce)
        {
            var key = new HostPortKey(vrf, port.Protocol, (ushort)port.NodePort);
            if (HolderAt(state, key, null, new HostPortHolder(Kind.Service, service.Name)) is { } holder)
            {
                report($"ports[{i}].node_port", $"{what} port {port.NodePort} of the node is taken by {holder}{InVrf(vrf)}", "take another node port");
            }
        }
    }

    /// <summary>Who has a port of the node, in words; null when it is free.</summary>
    /// <param name="state">The state.</param>
    /// <param name="key">The port.</param>
    /// <param name="address">At this address of the node; null for all of them.</param>
    /// <param name="self">Who asks, and is not told of itself.</param>
    private static string? HolderAt(DesiredState state, HostPortKey key, IPAddress? address, HostPortHolder self)
    {
        foreach (HostPortHolder holder in state.Services.HostPorts.GetValueOrDefault(key, []).Where(h => h != self))
        {
            if (holder.Kind == Kind.Service)
            {
                return $"service \"{holder.Name}\", as a node port";
            }
            PublishedPort other = state.Services.Published[holder.Name].Spec;
            if (address is null || other.HostAddress.Length == 0 || other.HostAddress == address.ToString())
            {
                return $"published port \"{holder.Name}\"{(other.HostAddress.Length > 0 ? $" at {other.HostAddress}" : "")}";
            }
        }
        foreach (IPAddress one in address is null ? state.Topology.NodeAddresses(key.Vrf) : [address])
        {
            if (HostPorts.OfTunnels(state, key, one) is { } network)
            {
                return $"the tunnels of network \"{network.Name}\" at {one}";
            }
            if (self.Name is not null && HostPorts.OfService(state.Services.Vips, n => state.Services.Services[n].Spec, key, one) is { } service
                && (self.Kind != Kind.Service || service.Name != self.Name))
            {
                return $"service \"{service.Name}\" at {one}";
            }
        }
        return null;
    }

    private static void CheckChoices(Service service, Report report)
    {
        if (!Enum.IsDefined(service.InternalPolicy))
        {
            report("internal_policy", $"{(int)service.InternalPolicy} is no policy", "CLUSTER, LOCAL");
        }
        if (!Enum.IsDefined(service.ExternalPolicy))
        {
            report("external_policy", $"{(int)service.ExternalPolicy} is no policy", "CLUSTER, LOCAL");
        }
        if (!Enum.IsDefined(service.Distribution))
        {
            report("distribution", $"{(int)service.Distribution} is no distribution", "RANDOM, MAGLEV");
        }
        if (!Enum.IsDefined(service.Ping))
        {
            report("ping", $"{(int)service.Ping} is no answer to pings", "NEVER, ALWAYS, IF_READY");
        }
        if (!Enum.IsDefined(service.BackendRemoval))
        {
            report("backend_removal", $"{(int)service.BackendRemoval} is nothing that can become of connections", "DRAIN, RESET");
        }
    }

    /// <summary>Packets reach the backend as they are.</summary>
    private static void CheckDirectReturn(Service service, Report report)
    {
        if (!service.Dsr)
        {
            return;
        }
        if (service.SourceNat)
        {
            report("source_nat", "and dsr exclude each other: the backend answers the client itself", "leave one of them out");
        }
        for (int i = 0; i < service.Ports.Count; i++)
        {
            if (service.Ports[i].TargetInForce != service.Ports[i].Port)
            {
                report($"ports[{i}].target_port", "with dsr packets go to the backend unchanged, to the service's own port", "leave target_port out");
            }
            if (service.Ports[i].NodePort != 0)
            {
                report($"ports[{i}].node_port", "with dsr the backend answers from the service's address, and a node port has none", "leave either out");
            }
        }
    }

    private static IEnumerable<(string Field, uint Seconds)> Idle(Service service)
    {
        if (service.Affinity is { } affinity)
        {
            yield return ("affinity.seconds", affinity.Seconds);
        }
        if (service.Timeouts is { } timeouts)
        {
            yield return ("timeouts.established_seconds", timeouts.EstablishedSeconds);
            yield return ("timeouts.half_open_seconds", timeouts.HalfOpenSeconds);
            yield return ("timeouts.closing_seconds", timeouts.ClosingSeconds);
            yield return ("timeouts.udp_seconds", timeouts.UdpSeconds);
            yield return ("timeouts.udp_answered_seconds", timeouts.UdpAnsweredSeconds);
        }
    }

    private static void CheckPortNumber(uint port, string field, Report report)
    {
        if (port is 0 or > ushort.MaxValue)
        {
            report(field, $"{port} is no port: they go from 1 to {ushort.MaxValue}");
        }
    }

    /// <summary>Whether an address can be that of one host.</summary>
    private static bool IsHostAddress(IPAddress address) =>
        !IsMulticast(address) && !IsUnspecified(address) && !IPAddress.IsLoopback(address) && !address.Equals(IPAddress.Broadcast)
        && !address.IsIPv6LinkLocal && !address.IsIPv4MappedToIPv6;

    private static string InVrf(string vrf) => vrf == ResourceKeys.MainVrf ? "" : $" in VRF \"{vrf}\"";
}
