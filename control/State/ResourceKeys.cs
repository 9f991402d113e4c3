using Dataplane.Control.Api.V1;
using Google.Protobuf;

namespace Dataplane.Control.State;

/// <summary>Kind and name of resources, and how people write them.</summary>
public static class ResourceKeys
{
    extension(Resource resource)
    {
        /// <summary>Kind of the resource; <see cref="Kind.Unspecified"/> when the message is empty.</summary>
        public Kind Kind => (Kind)(int)resource.ResourceCase;

        public string Name => resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.Network => resource.Network.Name,
            Resource.ResourceOneofCase.Port => resource.Port.Name,
            Resource.ResourceOneofCase.StaticMac => resource.StaticMac.Name,
            _ => "",
        };

        /// <summary>The network, port, … itself; null when the message is empty.</summary>
        public IMessage? Content => resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.Network => resource.Network,
            Resource.ResourceOneofCase.Port => resource.Port,
            Resource.ResourceOneofCase.StaticMac => resource.StaticMac,
            _ => null,
        };

        public ulong Revision => resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.Network => resource.Network.Revision,
            Resource.ResourceOneofCase.Port => resource.Port.Revision,
            Resource.ResourceOneofCase.StaticMac => resource.StaticMac.Revision,
            _ => 0,
        };
    }

    extension(Kind kind)
    {
        /// <summary>"network", "port", "static MAC".</summary>
        public string Text => kind switch
        {
            Kind.Network => "network",
            Kind.Port => "port",
            Kind.StaticMac => "static MAC",
            _ => "resource",
        };
    }

    /// <summary>The name of a static MAC: "network/mac", or "network/vlan/mac".</summary>
    public static string StaticMacName(string network, uint vlan, string mac) => vlan == 0 ? $"{network}/{mac}" : $"{network}/{vlan}/{mac}";

    public static Resource Of(Network network) => new() { Network = network };
    public static Resource Of(Port port) => new() { Port = port };
    public static Resource Of(StaticMac mac) => new() { StaticMac = mac };

    /// <summary>The resource that a message is.</summary>
    public static Resource Of(IMessage content) => content switch
    {
        Network network => Of(network),
        Port port => Of(port),
        _ => Of((StaticMac)content),
    };

    /// <summary>The resources of a manifest, networks first.</summary>
    public static List<Resource> Of(Manifest manifest) =>
        [.. manifest.Networks.Select(Of), .. manifest.Ports.Select(Of), .. manifest.StaticMacs.Select(Of)];
}
