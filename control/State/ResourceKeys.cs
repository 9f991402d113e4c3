using System.Net;
using Dataplane.Control.Api.V1;
using Google.Protobuf;
using Google.Protobuf.Reflection;

namespace Dataplane.Control.State;

/// <summary>Kind and name of resources, and how people write them.</summary>
public static class ResourceKeys
{
    /// <summary>VRF of what names none.</summary>
    public const string MainVrf = "main";

    /// <summary>All kinds of desired state, in an order in which none names one that comes behind it.</summary>
    public static IReadOnlyList<Kind> Kinds { get; } = [Kind.Network, Kind.Policy, Kind.Port, Kind.StaticMac, Kind.TunnelPeer, Kind.Neighbour, Kind.Route, Kind.Service, Kind.Backend, Kind.PublishedPort];

    extension(Resource resource)
    {
        /// <summary>Kind of the resource; <see cref="Kind.Unspecified"/> when the message is empty.</summary>
        public Kind Kind => (Kind)(int)resource.ResourceCase;

        /// <summary>The message of the resource's kind, or null when there is none.</summary>
        public IMessage? Content => resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.Network => resource.Network,
            Resource.ResourceOneofCase.Port => resource.Port,
            Resource.ResourceOneofCase.StaticMac => resource.StaticMac,
            Resource.ResourceOneofCase.TunnelPeer => resource.TunnelPeer,
            Resource.ResourceOneofCase.Neighbour => resource.Neighbour,
            Resource.ResourceOneofCase.Route => resource.Route,
            Resource.ResourceOneofCase.Service => resource.Service,
            Resource.ResourceOneofCase.Backend => resource.Backend,
            Resource.ResourceOneofCase.PublishedPort => resource.PublishedPort,
            Resource.ResourceOneofCase.Policy => resource.Policy,
            Resource.ResourceOneofCase.Node => resource.Node,
            _ => null,
        };

        public string Name
        {
            get => resource.ResourceCase switch
            {
                Resource.ResourceOneofCase.Network => resource.Network.Name,
                Resource.ResourceOneofCase.Port => resource.Port.Name,
                Resource.ResourceOneofCase.StaticMac => resource.StaticMac.Name,
                Resource.ResourceOneofCase.TunnelPeer => resource.TunnelPeer.Name,
                Resource.ResourceOneofCase.Neighbour => resource.Neighbour.Name,
                Resource.ResourceOneofCase.Route => resource.Route.Name,
                Resource.ResourceOneofCase.Service => resource.Service.Name,
                Resource.ResourceOneofCase.Backend => resource.Backend.Name,
                Resource.ResourceOneofCase.PublishedPort => resource.PublishedPort.Name,
                Resource.ResourceOneofCase.Policy => resource.Policy.Name,
                Resource.ResourceOneofCase.Node => resource.Node.Name,
                _ => "",
            };
            set
            {
                switch (resource.ResourceCase)
                {
                    case Resource.ResourceOneofCase.Network: resource.Network.Name = value; break;
                    case Resource.ResourceOneofCase.Port: resource.Port.Name = value; break;
                    case Resource.ResourceOneofCase.StaticMac: resource.StaticMac.Name = value; break;
                    case Resource.ResourceOneofCase.TunnelPeer: resource.TunnelPeer.Name = value; break;
                    case Resource.ResourceOneofCase.Neighbour: resource.Neighbour.Name = value; break;
                    case Resource.ResourceOneofCase.Route: resource.Route.Name = value; break;
                    case Resource.ResourceOneofCase.Service: resource.Service.Name = value; break;
                    case Resource.ResourceOneofCase.Backend: resource.Backend.Name = value; break;
                    case Resource.ResourceOneofCase.PublishedPort: resource.PublishedPort.Name = value; break;
                    case Resource.ResourceOneofCase.Policy: resource.Policy.Name = value; break;
                }
            }
        }

        public ulong Revision
        {
            get => resource.ResourceCase switch
            {
                Resource.ResourceOneofCase.Network => resource.Network.Revision,
                Resource.ResourceOneofCase.Port => resource.Port.Revision,
                Resource.ResourceOneofCase.StaticMac => resource.StaticMac.Revision,
                Resource.ResourceOneofCase.TunnelPeer => resource.TunnelPeer.Revision,
                Resource.ResourceOneofCase.Neighbour => resource.Neighbour.Revision,
                Resource.ResourceOneofCase.Route => resource.Route.Revision,
                Resource.ResourceOneofCase.Service => resource.Service.Revision,
                Resource.ResourceOneofCase.Backend => resource.Backend.Revision,
                Resource.ResourceOneofCase.PublishedPort => resource.PublishedPort.Revision,
                Resource.ResourceOneofCase.Policy => resource.Policy.Revision,
                _ => 0,
            };
            set
            {
                switch (resource.ResourceCase)
                {
                    case Resource.ResourceOneofCase.Network: resource.Network.Revision = value; break;
                    case Resource.ResourceOneofCase.Port: resource.Port.Revision = value; break;
                    case Resource.ResourceOneofCase.StaticMac: resource.StaticMac.Revision = value; break;
                    case Resource.ResourceOneofCase.TunnelPeer: resource.TunnelPeer.Revision = value; break;
                    case Resource.ResourceOneofCase.Neighbour: resource.Neighbour.Revision = value; break;
                    case Resource.ResourceOneofCase.Route: resource.Route.Revision = value; break;
                    case Resource.ResourceOneofCase.Service: resource.Service.Revision = value; break;
                    case Resource.ResourceOneofCase.Backend: resource.Backend.Revision = value; break;
                    case Resource.ResourceOneofCase.PublishedPort: resource.PublishedPort.Revision = value; break;
                    case Resource.ResourceOneofCase.Policy: resource.Policy.Revision = value; break;
                }
            }
        }

        /// <summary>Who keeps the resource; empty for the operator, whose alone are the kinds without an owner.</summary>
        public string Owner
        {
            get => resource.ResourceCase switch
            {
                Resource.ResourceOneofCase.Network => resource.Network.Owner,
                Resource.ResourceOneofCase.TunnelPeer => resource.TunnelPeer.Owner,
                Resource.ResourceOneofCase.Neighbour => resource.Neighbour.Owner,
                Resource.ResourceOneofCase.Route => resource.Route.Owner,
                Resource.ResourceOneofCase.Service => resource.Service.Owner,
                Resource.ResourceOneofCase.Backend => resource.Backend.Owner,
                Resource.ResourceOneofCase.PublishedPort => resource.PublishedPort.Owner,
                _ => "",
            };
            set
            {
                switch (resource.ResourceCase)
                {
                    case Resource.ResourceOneofCase.Network: resource.Network.Owner = value; break;
                    case Resource.ResourceOneofCase.TunnelPeer: resource.TunnelPeer.Owner = value; break;
                    case Resource.ResourceOneofCase.Neighbour: resource.Neighbour.Owner = value; break;
                    case Resource.ResourceOneofCase.Route: resource.Route.Owner = value; break;
                    case Resource.ResourceOneofCase.Service: resource.Service.Owner = value; break;
                    case Resource.ResourceOneofCase.Backend: resource.Backend.Owner = value; break;
                    case Resource.ResourceOneofCase.PublishedPort: resource.PublishedPort.Owner = value; break;
                }
            }
        }

        /// <summary>The name, also where it is made from the other fields and was left empty.</summary>
        public string KeyName => resource.Name.Length > 0 ? resource.Name : resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.StaticMac => NameOf(resource.StaticMac),
            Resource.ResourceOneofCase.Neighbour => NameOf(resource.Neighbour),
            Resource.ResourceOneofCase.Route => NameOf(resource.Route),
            Resource.ResourceOneofCase.Backend => NameOf(resource.Backend),
            _ => "",
        };

        /// <summary>The networks whose rules the resource relies upon; empty for a network itself.</summary>
        public IEnumerable<string> NamedNetworks => resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.Port => NotEmpty(resource.Port.Network),
            Resource.ResourceOneofCase.StaticMac => NotEmpty(resource.StaticMac.Network),
            Resource.ResourceOneofCase.TunnelPeer => NotEmpty(resource.TunnelPeer.Network),
            Resource.ResourceOneofCase.Neighbour => NotEmpty(resource.Neighbour.Network),
            Resource.ResourceOneofCase.Route => resource.Route.NextHops.Select(n => n.Network).Where(n => n.Length > 0).Distinct(),
            _ => [],
        };

        /// <summary>The policy that the resource relies upon, or "".</summary>
        public string NamedPolicy => resource.ResourceCase == Resource.ResourceOneofCase.Port ? resource.Port.Policy : "";
    }

    extension(Kind kind)
    {
        /// <summary>"network", "port", "static MAC".</summary>
        public string Text => kind switch
        {
            Kind.Network => "network",
            Kind.Port => "port",
            Kind.StaticMac => "static MAC",
            Kind.TunnelPeer => "tunnel peer",
            Kind.Neighbour => "neighbour",
            Kind.Route => "route",
            Kind.Service => "service",
            Kind.Backend => "backend",
            Kind.PublishedPort => "published port",
            Kind.Policy => "policy",
            Kind.Node => "node",
            _ => "resource",
        };
    }

    /// <summary>The name of a static MAC: "network/mac", or "network/vlan/mac".</summary>
    public static string StaticMacName(string network, uint vlan, string mac) => vlan == 0 ? string.Concat(network, "/", mac) : $"{network}/{vlan}/{mac}";

    /// <summary>The name of a route: "vrf/prefix".</summary>
    public static string RouteName(string vrf, string prefix) => $"{(vrf.Length == 0 ? MainVrf : vrf)}/{prefix}";

    /// <summary>The name of a neighbour: "interface/address".</summary>
    public static string NeighbourName(string network, string port, string address) => $"{(network.Length > 0 ? RouterPort(network) : port)}/{address}";

    /// <summary>The name of the port of a network's router.</summary>
    public static string RouterPort(string network) => network + RouterSuffix;

    /// <summary>What the name of a router's port has behind that of its network.</summary>
    public const string RouterSuffix = ".router";

    public static Resource Of(Network network) => new() { Network = network };
    public static Resource Of(Port port) => new() { Port = port };
    public static Resource Of(StaticMac mac) => new() { StaticMac = mac };
    public static Resource Of(TunnelPeer peer) => new() { TunnelPeer = peer };
    public static Resource Of(Neighbour neighbour) => new() { Neighbour = neighbour };
    public static Resource Of(Route route) => new() { Route = route };
    public static Resource Of(Service service) => new() { Service = service };
    public static Resource Of(Backend backend) => new() { Backend = backend };
    public static Resource Of(PublishedPort published) => new() { PublishedPort = published };
    public static Resource Of(Policy policy) => new() { Policy = policy };
    public static Resource Of(Node node) => new() { Node = node };

    /// <summary>A resource of the kind that a message has.</summary>
    /// <exception cref="ArgumentException">It has none.</exception>
    public static Resource Of(IMessage content) => content switch
    {
        Network network => Of(network),
        Port port => Of(port),
        StaticMac mac => Of(mac),
        TunnelPeer peer => Of(peer),
        Neighbour neighbour => Of(neighbour),
        Route route => Of(route),
        Service service => Of(service),
        Backend backend => Of(backend),
        PublishedPort published => Of(published),
        Policy policy => Of(policy),
        _ => throw new ArgumentException($"{content.Descriptor.Name} is no resource", nameof(content)),
    };

    /// <summary>The message of a kind.</summary>
    public static MessageDescriptor DescriptorOf(Kind kind) => kind switch
    {
        Kind.Network => Network.Descriptor,
        Kind.Port => Port.Descriptor,
        Kind.StaticMac => StaticMac.Descriptor,
        Kind.TunnelPeer => TunnelPeer.Descriptor,
        Kind.Neighbour => Neighbour.Descriptor,
        Kind.Route => Route.Descriptor,
        Kind.Service => Service.Descriptor,
        Kind.Backend => Backend.Descriptor,
        Kind.PublishedPort => PublishedPort.Descriptor,
        Kind.Policy => Policy.Descriptor,
        Kind.Node => Node.Descriptor,
        _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "is no kind of resource"),
    };

    /// <summary>The resources of a manifest, networks first.</summary>
    public static List<Resource> Of(Manifest manifest) =>
    [
        .. manifest.Networks.Select(Of), .. manifest.Policies.Select(Of), .. manifest.Ports.Select(Of), .. manifest.StaticMacs.Select(Of),
        .. manifest.TunnelPeers.Select(Of), .. manifest.Neighbours.Select(Of), .. manifest.Routes.Select(Of),
        .. manifest.Services.Select(Of), .. manifest.Backends.Select(Of), .. manifest.PublishedPorts.Select(Of),
        .. manifest.Nodes.Select(Of),
    ];

    /// <summary>A manifest of resources.</summary>
    public static Manifest ToManifest(IEnumerable<Resource> resources)
    {
        var manifest = new Manifest();
        foreach (Resource resource in resources)
        {
            switch (resource.ResourceCase)
            {
                case Resource.ResourceOneofCase.Network: manifest.Networks.Add(resource.Network); break;
                case Resource.ResourceOneofCase.Port: manifest.Ports.Add(resource.Port); break;
                case Resource.ResourceOneofCase.StaticMac: manifest.StaticMacs.Add(resource.StaticMac); break;
                case Resource.ResourceOneofCase.TunnelPeer: manifest.TunnelPeers.Add(resource.TunnelPeer); break;
                case Resource.ResourceOneofCase.Neighbour: manifest.Neighbours.Add(resource.Neighbour); break;
                case Resource.ResourceOneofCase.Route: manifest.Routes.Add(resource.Route); break;
                case Resource.ResourceOneofCase.Service: manifest.Services.Add(resource.Service); break;
                case Resource.ResourceOneofCase.Backend: manifest.Backends.Add(resource.Backend); break;
                case Resource.ResourceOneofCase.PublishedPort: manifest.PublishedPorts.Add(resource.PublishedPort); break;
                case Resource.ResourceOneofCase.Policy: manifest.Policies.Add(resource.Policy); break;
                case Resource.ResourceOneofCase.Node: manifest.Nodes.Add(resource.Node); break;
            }
        }
        return manifest;
    }

    internal static string NameOf(StaticMac mac) => StaticMacName(mac.Network, mac.Vlan, mac.Mac.ToLowerInvariant());

    internal static string NameOf(Neighbour neighbour) => NeighbourName(neighbour.Network, neighbour.Port, Address(neighbour.Address));

    /// <summary>The name of a backend: "service/id", where the id is its address unless the operator chose another.</summary>
    public static string BackendName(string service, string id) => $"{service}/{id}";

    /// <summary>The service and the id that a backend's name is made of.</summary>
    internal static (string Service, string Id) SplitBackend(string name) =>
        name.IndexOf('/', StringComparison.Ordinal) is var slash and >= 0 ? (name[..slash], name[(slash + 1)..]) : ("", name);

    internal static string NameOf(Backend backend) => BackendName(backend.Service, Address(backend.Address));

    internal static string NameOf(Route route) => RouteName(route.Vrf, Prefix(route.Prefix));

    /// <summary>An address in its one way of writing; what is none stays as it is.</summary>
    internal static string Address(string text) => Cidr.TryParseAddress(text, out IPAddress? address) ? address.ToString() : text;

    /// <summary>A prefix in its one way of writing; what is none stays as it is.</summary>
    internal static string Prefix(string text) => Cidr.TryParse(text, out Cidr cidr) ? cidr.ToString() : text;

    private static IEnumerable<string> NotEmpty(string name) => name.Length > 0 ? [name] : [];
}
