using System.Net;
using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckPublished(DesiredState state, PublishedEntry entry, ProblemCollector problems)
    {
        PublishedPort published = entry.Spec;
        string vrf = published.VrfInForce;
        CheckName(Kind.PublishedPort, published.Name, problems);
        if (!state.Topology.Vrfs.ContainsKey(vrf))
        {
            Report("vrf", $"VRF \"{vrf}\" does not exist: no router and no routed port names it", "VRFs: " + ListNames(state.Topology.Vrfs.Keys.Order(StringComparer.Ordinal)));
        }
        if (!Enum.IsDefined(published.Protocol))
        {
            Report("protocol", $"{(int)published.Protocol} is no protocol", "TCP, UDP, SCTP");
        }
        CheckPortNumber(published.HostPort == 0 ? 1 : published.HostPort, "host_port", Report);
        CheckPortNumber(published.TargetPort == 0 ? 1 : published.TargetPort, "target_port", Report);
        if (published is { HostPort: 0, TargetPort: 0 })
        {
            Report("target_port", "says no port", "give target_port, the container's, or host_port for both");
        }
        IPAddress? host = CheckHostAddress(state, published, Report);
        CheckContainer(state, published, host, Report);
        if (entry.HostPort == 0)
        {
            problems.Add(Kind.PublishedPort, published.Name, "host_port", $"all {published.Protocol.Word} ports from {Effective.FirstDynamicPort} to {Effective.LastDynamicPort} are taken",
                "give host_port, or delete published ports", StatusCode.ResourceExhausted);
        }
        else if (published.HostPort <= ushort.MaxValue
            && HolderAt(state, entry.Key, host, new HostPortHolder(Kind.PublishedPort, published.Name)) is { } holder)
        {
            string where = host is null ? "of the node" : $"of {host}";
            problems.Add(Kind.PublishedPort, published.Name, "host_port", $"{published.Protocol.Word} port {entry.HostPort} {where} is taken by {holder}{InVrf(vrf)}",
                "take another host_port, or leave it out for a free one", StatusCode.AlreadyExists);
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.PublishedPort, published.Name, field, message, fix);
    }

    private static IPAddress? CheckHostAddress(DesiredState state, PublishedPort published, Report report)
    {
        if (published.HostAddress.Length == 0)
        {
            return null;
        }
        if (!Cidr.TryParseAddress(published.HostAddress, out IPAddress? address))
        {
            report("host_address", $"\"{published.HostAddress}\" is not an IP address", published.HostAddress.Contains('/') ? "leave the prefix length out" : "");
            return null;
        }
        if (!state.Topology.IsOwn(published.VrfInForce, address))
        {
            report("host_address", $"{address} is no address of the node{InVrf(published.VrfInForce)}", "addresses: " + ListNames(state.Topology.NodeAddresses(published.VrfInForce).Select(a => a.ToString())));
        }
        return address;
    }

    private static void CheckContainer(DesiredState state, PublishedPort published, IPAddress? host, Report report)
    {
        if (published.Port.Length > 0 == published.Address.Length > 0)
        {
            report("address", published.Port.Length > 0 ? "names both an address and a port" : "leads nowhere", "give either address, the container's, or port, the name of its port");
            return;
        }
        if (published.Address.Length > 0 && !Cidr.TryParseAddress(published.Address, out _))
        {
            report("address", $"\"{published.Address}\" is not an IP address", published.Address.Contains('/') ? "leave the prefix length out" : "");
            return;
        }
        string field = published.Port.Length > 0 ? "port" : "address";
        if (published.Port.Length > 0 && !state.Ports.ContainsKey(published.Port))
        {
            report(field, $"port \"{published.Port}\" does not exist", "ports: " + ListNames(state.Ports.Keys));
            return;
        }
        List<IPAddress> containers = [.. published.ContainersInForce(state)];
        if (containers.Count == 0)
        {
            report(field, $"port \"{published.Port}\" has no address that the switch knows", "give it tap.addresses, or name the container by address");
        }
        else if (host is not null && containers.All(c => c.AddressFamily != host.AddressFamily))
        {
            report(field, $"{containers[0]} is {Family(containers[0])}, host_address {host} is {Family(host)}");
        }
        foreach (IPAddress container in containers)
        {
            if (!IsHostAddress(container) || state.Topology.IsOwn(published.VrfInForce, container))
            {
                report(field, $"{container} cannot be the address of a container", state.Topology.IsOwn(published.VrfInForce, container) ? "it is the switch's own" : "");
            }
        }
    }
}
