using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Effective
{
    /// <summary>As Kubernetes has it.</summary>
    public const uint DefaultAffinitySeconds = 10_800;

    /// <summary>Ports of the switch's own choice: the dynamic ones (RFC 6335, 6).</summary>
    public const ushort FirstDynamicPort = 49_152, LastDynamicPort = ushort.MaxValue;

    /// <summary>Ports that masqueraded connections get: all but the well-known ones.</summary>
    public const ushort FirstNatPort = 1024, LastNatPort = ushort.MaxValue;

    extension(Service service)
    {
        public IEnumerable<string> VrfsInForce => service.Vrfs.Count == 0 ? [ResourceKeys.MainVrf] : service.Vrfs.Distinct();

        /// <summary>Its addresses, without those that cannot be read; those within first.</summary>
        public IEnumerable<(IPAddress Address, bool IsExternal)> AddressesInForce =>
            service.ClusterIps.Select(a => (Text: a, IsExternal: false))
                .Concat(service.ExternalIps.Concat(service.LoadBalancerIps).Select(a => (Text: a, IsExternal: true)))
                .Select(a => (Address: Cidr.TryParseAddress(a.Text, out IPAddress? address) ? address : null, a.IsExternal))
                .Where(a => a.Address is not null)
                .Select(a => (a.Address!, a.IsExternal));

        /// <summary>Its addresses in its VRFs.</summary>
        public IEnumerable<VipKey> Vips => service.VrfsInForce.SelectMany(_ => service.AddressesInForce, (vrf, a) => new VipKey(vrf, a.Address)).Distinct();

        /// <summary>Its ports at the node itself.</summary>
        public IEnumerable<HostPortKey> NodePorts =>
            from port in service.Ports
            where port.NodePort is > 0 and <= ushort.MaxValue
            from vrf in service.VrfsInForce
            select new HostPortKey(vrf, port.Protocol, (ushort)port.NodePort);
    }

    extension(ServicePort port)
    {
        /// <summary>At backends that say nothing of it.</summary>
        public uint TargetInForce => port.TargetPort == 0 ? port.Port : port.TargetPort;
    }

    extension(Affinity affinity)
    {
        public uint SecondsInForce => affinity.Seconds == 0 ? DefaultAffinitySeconds : affinity.Seconds;
    }

    extension(Backend backend)
    {
        public uint WeightInForce => backend.HasWeight ? backend.Weight : 1;

        /// <summary>Where it serves a port of its service.</summary>
        public uint PortInForce(ServicePort port) => backend.Ports.FirstOrDefault(p => p.Name == port.Name)?.Port ?? port.TargetInForce;
    }

    extension(PublishedPort published)
    {
        public string VrfInForce => published.Vrf.Length == 0 ? ResourceKeys.MainVrf : published.Vrf;

        /// <summary>Addresses of the container, without those that cannot be read.</summary>
        public IEnumerable<IPAddress> ContainersInForce(DesiredState state) =>
            published.Port.Length > 0
                ? state.Ports.TryGetValue(published.Port, out PortEntry? port)
                    ? port.Spec.AddressesInForce(state.Networks.GetValueOrDefault(port.Spec.Network)?.Spec).Select(a => a.Address).DistinctBy(a => a.AddressFamily)
                    : []
                : Cidr.TryParseAddress(published.Address, out IPAddress? address) ? [address] : [];

        /// <summary>Addresses of the node at which it is reached.</summary>
        public IEnumerable<IPAddress> HostAddressesInForce(DesiredState state) =>
            published.HostAddress.Length > 0
                ? Cidr.TryParseAddress(published.HostAddress, out IPAddress? address) ? [address] : []
                : state.Topology.NodeAddresses(published.VrfInForce);
    }

    extension(Nat nat)
    {
        public ushort FirstPortInForce => nat.FirstPort == 0 ? FirstNatPort : (ushort)nat.FirstPort;
        public ushort LastPortInForce => nat.LastPort == 0 ? LastNatPort : (ushort)nat.LastPort;
    }

    extension(TransportProtocol protocol)
    {
        /// <summary>Number of the protocol in IP headers.</summary>
        public byte Number => protocol switch
        {
            TransportProtocol.Tcp => (byte)ProtocolType.Tcp,
            TransportProtocol.Udp => (byte)ProtocolType.Udp,
            _ => 132,
        };

        /// <summary>"tcp"</summary>
        public string Word => protocol.ToString().ToLowerInvariant();
    }
}
