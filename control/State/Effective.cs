using System.Net;
using System.Net.Sockets;
using System.Text;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

/// <summary>
/// What is in force where a resource leaves a field at its default. Resources are stored as the operator wrote them, so
/// that they can be read back and edited; everything that acts on them asks here.
/// </summary>
public static partial class Effective
{
    public const uint DefaultMtu = 1500;

    /// <summary>IEEE 802.1D-2004, table 7-5.</summary>
    public const uint DefaultAgeingSeconds = 300;

    /// <summary>VLAN of a port that says nothing of VLANs (IEEE 802.1Q, table 9-2).</summary>
    public const uint DefaultVlan = 1;

    /// <summary>RFC 7348, section 8.</summary>
    public const uint DefaultVxlanPort = 4789;

    /// <summary>Time to live of packets that the switch itself makes (RFC 1700).</summary>
    public const uint DefaultTtl = 64;

    extension(Network network)
    {
        public uint MtuInForce => network.Mtu == 0 ? DefaultMtu - (network.Vxlan?.Overhead ?? 0) : network.Mtu;
        public uint AgeingInForce => network.HasAgeingSeconds ? network.AgeingSeconds : DefaultAgeingSeconds;

        public MacAddress MacInForce => MacAddress.TryParse(network.Mac, out MacAddress mac) ? mac : Derive("network", network.Name);

        /// <summary>
        /// The router's other address, to which the host sends what is to be routed: the first one is the host port's own, and a
        /// kernel sends nothing to itself.
        /// </summary>
        public MacAddress SecondMac => Derive("router", network.Name);

        /// <summary>The subnets, without those that cannot be read.</summary>
        public IEnumerable<Cidr> Prefixes => network.Subnets.Select(s => Cidr.TryParse(s, out Cidr c) ? c : (Cidr?)null).OfType<Cidr>();

        /// <summary>The gateways with the prefix length of their subnet.</summary>
        public IEnumerable<Cidr> GatewayAddresses
        {
            get
            {
                foreach (string text in network.Gateways)
                {
                    if (Cidr.TryParseAddress(text, out IPAddress? gateway))
                    {
                        foreach (Cidr subnet in network.Prefixes.Where(p => p.Contains(gateway)).Take(1))
                        {
                            yield return new Cidr(gateway, subnet.Length);
                        }
                    }
                }
            }
        }
    }

    extension(Router router)
    {
        public string VrfInForce => router.Vrf.Length == 0 ? ResourceKeys.MainVrf : router.Vrf;

        /// <summary>The VLAN whose packets are routed, on a network that looks at VLANs.</summary>
        public uint VlanInForce => router.Vlan == 0 ? DefaultVlan : router.Vlan;
    }

    extension(Vxlan vxlan)
    {
        /// <summary>UDP port.</summary>
        public uint PortInForce => vxlan.Port == 0 ? DefaultVxlanPort : vxlan.Port;

        public uint TtlInForce => vxlan.Ttl == 0 ? DefaultTtl : vxlan.Ttl;

        public bool FloodInForce => !vxlan.HasFlood || vxlan.Flood;

        /// <summary>The address of the tunnel end point, or the unspecified address of its family.</summary>
        public IPAddress LocalInForce => Cidr.TryParseAddress(vxlan.Local, out IPAddress? local) ? local : IPAddress.Any;

        /// <summary>Bytes that the outer headers take of the underlay's MTU: IP, UDP, VXLAN, and the inner Ethernet header.</summary>
        public uint Overhead => vxlan.LocalInForce.AddressFamily == AddressFamily.InterNetworkV6 ? 70u : 50u;
    }

    extension(TunnelPeer peer)
    {
        public bool FloodInForce(Network network) => peer.HasFlood ? peer.Flood : network.Vxlan?.FloodInForce ?? false;
    }

    extension(Routed routed)
    {
        public string VrfInForce => routed.Vrf.Length == 0 ? ResourceKeys.MainVrf : routed.Vrf;

        /// <summary>The addresses, without those that cannot be read.</summary>
        public IEnumerable<Cidr> AddressesInForce => routed.Addresses.Select(a => Cidr.TryParse(a, out Cidr c) ? c : (Cidr?)null).OfType<Cidr>();
    }

    extension(Route route)
    {
        public string VrfInForce => route.Vrf.Length == 0 ? ResourceKeys.MainVrf : route.Vrf;
    }

    extension(NextHop hop)
    {
        public uint WeightInForce => hop.Weight == 0 ? 1 : hop.Weight;
    }

    extension(Port port)
    {
        public bool EnabledInForce => !port.HasEnabled || port.Enabled;
        public bool LearningInForce => !port.HasLearning || port.Learning;
        public bool FloodUnknownUnicastInForce => !port.HasFloodUnknownUnicast || port.FloodUnknownUnicast;
        public bool FloodMulticastInForce => !port.HasFloodMulticast || port.FloodMulticast;
        public bool FloodBroadcastInForce => !port.HasFloodBroadcast || port.FloodBroadcast;

        public bool IsHost => port.Tap is { Host: true };

        public bool IsRouted => port.Routed is not null;

        /// <summary>Largest layer-3 packet. A routed port has no network, nor has one whose network does not exist.</summary>
        public uint MtuInForce(Network? network) => port.Mtu == 0 ? network?.MtuInForce ?? DefaultMtu : port.Mtu;

        /// <summary>Address of the switch on the link of a routed port.</summary>
        public MacAddress RoutedMacInForce => MacAddress.TryParse(port.Routed?.Mac, out MacAddress mac) ? mac : Derive("routed", port.Name);

        /// <summary>Name of the TAP device or of the network device, or what DPDK calls the device.</summary>
        public string DeviceInForce => port.AttachmentCase switch
        {
            Port.AttachmentOneofCase.Tap when port.Tap.Device.Length > 0 => port.Tap.Device,
            Port.AttachmentOneofCase.Tap => port.Tap.Netns.Length > 0 ? "eth0" : port.Name,
            Port.AttachmentOneofCase.Netdev => port.Netdev.Device,
            Port.AttachmentOneofCase.Dpdk => port.Dpdk.Devargs.Split(',', 2)[0],
            Port.AttachmentOneofCase.Pcap => "pcap",
            Port.AttachmentOneofCase.Memory => "memory",
            _ => "",
        };

        /// <summary>Address of the TAP device.</summary>
        public MacAddress MacInForce(Network? network) =>
            MacAddress.TryParse(port.Tap?.Mac, out MacAddress mac) ? mac
            : port.IsHost && network is not null ? network.MacInForce
            : Derive("port", port.Name);

        /// <summary>Addresses of the TAP device.</summary>
        public IEnumerable<Cidr> AddressesInForce(Network? network) =>
            port.Tap is not { } tap ? []
            : tap is { Host: true, Addresses.Count: 0 } ? network?.GatewayAddresses ?? []
            : tap.Addresses.Select(a => Cidr.TryParse(a, out Cidr c) ? c : (Cidr?)null).OfType<Cidr>();

        /// <summary>Next hops of the default routes of the TAP device: of its network's gateways those in subnets that it has an address in.</summary>
        public IEnumerable<IPAddress> DefaultRoutesInForce(Network? network)
        {
            if (port.Tap is not { DefaultRoute: true } tap)
            {
                return [];
            }
            List<IPAddress> own = [.. port.AddressesInForce(network).Select(a => a.Address)];
            if (tap.Gateways.Count == 0 && network is not null)
            {
                return network.GatewayAddresses.Where(g => own.Any(g.Contains)).Select(g => g.Address);
            }
            IEnumerable<IPAddress> gateways = tap.Gateways.Count > 0
                ? tap.Gateways.Select(g => Cidr.TryParseAddress(g, out IPAddress? a) ? a : null).OfType<IPAddress>()
                : port.Routed?.AddressesInForce.Select(a => a.Address) ?? [];
            return gateways.Where(g => own.Any(a => a.AddressFamily == g.AddressFamily));
        }
    }

    /// <summary>
    /// What tells this switch from others on the same link, whose ports may well have the same names: addresses of ports are made from
    /// it too. Those of networks are not, since a network's router has one address wherever the network is. Set once, by the daemon.
    /// </summary>
    public static string NodeIdentity { get; set; } = "";

    /// <summary>
    /// A locally administered unicast address (IEEE 802, 8.4) that is the same after every start: 02, then 40 bits of a
    /// hash of node, kind and name (FNV-1a, whose bits are then mixed as SplitMix64 does, so that names that differ in one
    /// character get addresses that differ everywhere).
    /// </summary>
    internal static MacAddress Derive(string kind, string name)
    {
        ulong hash = 0xcbf2_9ce4_8422_2325;
        foreach (byte b in Encoding.UTF8.GetBytes($"{(kind == "network" ? "" : NodeIdentity)}{kind}/{name}"))
        {
            hash = (hash ^ b) * 0x100_0000_01b3;
        }
        hash = (hash ^ (hash >> 30)) * 0xbf58_476d_1ce4_e5b9;
        hash = (hash ^ (hash >> 27)) * 0x94d0_49bb_1331_11eb;
        hash ^= hash >> 31;
        return new MacAddress(0x02 | ((hash << 8) & MacAddress.Mask));
    }
}
