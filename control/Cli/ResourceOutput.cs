using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary>What the commands of all kinds of resources have in common.</summary>
internal static class ResourceOutput
{
    /// <summary>Creates a resource; refused when it exists.</summary>
    public static Task CreateAsync(Client client, Resource resource, ParseResult parsed, CancellationToken cancel) =>
        ApplyAsync(client, new ApplyRequest { Resources = { resource }, CreateOnly = true }, parsed, cancel);

    /// <summary>Creates resources, all of them or none; refused when one exists.</summary>
    public static Task CreateAsync(Client client, IEnumerable<Resource> resources, ParseResult parsed, CancellationToken cancel) =>
        ApplyAsync(client, new ApplyRequest { Resources = { resources }, CreateOnly = true }, parsed, cancel);

    /// <summary>Creates resources, or puts them in the place of those that exist, all of them or none.</summary>
    public static Task ReplaceAsync(Client client, IEnumerable<Resource> resources, ParseResult parsed, CancellationToken cancel) =>
        ApplyAsync(client, new ApplyRequest { Resources = { resources } }, parsed, cancel);

    /// <summary>Creates a resource, or puts it in the place of the one that exists.</summary>
    public static Task ReplaceAsync(Client client, Resource resource, ParseResult parsed, CancellationToken cancel) =>
        ApplyAsync(client, new ApplyRequest { Resources = { resource } }, parsed, cancel);

    private static async Task ApplyAsync(Client client, ApplyRequest request, ParseResult parsed, CancellationToken cancel)
    {
        bool dryRun = parsed.GetValue(Options.DryRun);
        request.DryRun = dryRun;
        ApplyResponse response = await client.Resources.ApplyAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
        if (!Output.TryPrint(parsed.GetValue(Options.Output), response))
        {
            Output.Changes(response.Changes, dryRun);
        }
    }

    public static Task DeleteAsync(Client client, Kind kind, IEnumerable<string> names, ParseResult parsed, CancellationToken cancel) =>
        DeleteAsync(client, names.Select(n => new ResourceKey { Kind = kind, Name = n }), parsed, cancel);

    /// <summary>Deletes resources, all of them or none.</summary>
    public static async Task DeleteAsync(Client client, IEnumerable<ResourceKey> keys, ParseResult parsed, CancellationToken cancel)
    {
        bool dryRun = parsed.GetValue(Options.DryRun);
        var request = new DeleteRequest { DryRun = dryRun };
        request.Keys.AddRange(keys);
        DeleteResponse response = await client.Resources.DeleteAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
        if (!Output.TryPrint(parsed.GetValue(Options.Output), response))
        {
            Output.Changes(response.Changes, dryRun);
        }
    }

    public static async Task GetAsync(Client client, Kind kind, string name, OutputFormat format, CancellationToken cancel) =>
        Single(await client.Resources.GetAsync(new GetRequest { Kind = kind, Name = name }, deadline: Client.Deadline, cancellationToken: cancel), format);

    /// <summary>Prints one resource. JSON and YAML have its kind, so that they can be applied again.</summary>
    public static void Single(Resource resource, OutputFormat format)
    {
        if (!Output.TryPrint(format, resource.Content!, KindNames.Of(resource.Kind)))
        {
            Table(resource.Kind, [resource], format);
        }
    }

    /// <summary>Prints resources of one kind. JSON and YAML are a manifest, so that they can be applied again.</summary>
    public static void List(Kind kind, IReadOnlyList<Resource> resources, OutputFormat format)
    {
        if (!Output.TryPrint(format, ResourceKeys.ToManifest(resources)))
        {
            Table(kind, resources, format);
        }
    }

    public static void Table(Kind kind, IEnumerable<Resource> resources, OutputFormat format = OutputFormat.Table)
    {
        switch (kind)
        {
            case Kind.Port when format == OutputFormat.Wide:
                Output.Table(
                    ["NAME", "NETWORK", "STATE", "DEVICE", "MAC", "ADDRESSES", ">MTU", "VLANS", "SETTINGS", ">MACS", ">LIMIT", ">RECOVERIES", ">INDEX", ">REVISION", "REASON"],
                    resources.Select(r => r.Port).Select(p => new[]
                    {
                        p.Name, p.IsRouted ? "(routed)" : p.Network, Output.State(p.Status.State), Device(p), p.Status.Mac, Join(p.IsRouted ? p.Routed.Addresses : p.Status.Addresses), $"{p.Status.Mtu}", Vlans(p), Settings(p),
                        $"{p.Status.LearnedMacs}", p.LearnLimit == 0 ? "-" : $"{p.LearnLimit}", $"{p.Status.Recoveries}", $"{p.Status.Index}", $"{p.Revision}", p.Status.Reason,
                    }));
                break;
            case Kind.Network when format == OutputFormat.Wide:
                Output.Table(
                    ["NAME", "SUBNETS", "GATEWAYS", "MAC", ">MTU", "VLANS", "VRF", "VNI", "VTEP", ">PEERS", ">PORTS", ">MACS", ">INDEX", ">ROUTER", ">REVISION"],
                    resources.Select(r => r.Network).Select(n => new[]
                    {
                        n.Name, Join(n.Subnets), Join(n.Gateways), n.Status.Mac, $"{n.Status.Mtu}", n.VlanFiltering ? "yes" : "no", Or(n.Status.Vrf), n.Vxlan is { } v ? $"{v.Vni}" : "-",
                        Or(n.Status.Vtep), $"{n.Status.Peers}", $"{n.Status.Ports}", $"{n.Status.LearnedMacs}", $"{n.Status.Index}", n.Router is null ? "-" : $"{n.Status.RouterIndex}", $"{n.Revision}",
                    }));
                break;
            case Kind.Network:
                Output.Table(
                    ["NAME", "SUBNETS", "GATEWAYS", "MAC", ">MTU", "VLANS", "VRF", "VNI", ">PORTS", ">MACS"],
                    resources.Select(r => r.Network).Select(n => new[]
                    {
                        n.Name, Join(n.Subnets), Join(n.Gateways), n.Status?.Mac ?? n.Mac, n.MtuInForce.ToString(), n.VlanFiltering ? "yes" : "no",
                        n.Router is { } router ? router.VrfInForce : "-", n.Vxlan is { } vxlan ? $"{vxlan.Vni}" : "-", $"{n.Status?.Ports}", $"{n.Status?.LearnedMacs}",
                    }));
                break;
            case Kind.TunnelPeer:
                Output.Table(
                    ["NAME", "NETWORK", "STATE", "ADDRESS", "MAC", "LOCAL", "BY", ">MACS", "REASON"],
                    resources.Select(r => r.TunnelPeer).Select(p => new[]
                    {
                        p.Name, p.Network, Output.Word(p.Status.State), p.Address, Or(p.Mac), Or(p.Status.Local), Or(p.Status.Interface), $"{p.Status.LearnedMacs}", p.Status.Reason,
                    }));
                break;
            case Kind.Neighbour:
                Output.Table(
                    ["LINK", "ADDRESS", "MAC"],
                    resources.Select(r => r.Neighbour).Select(n => new[] { n.Network.Length > 0 ? n.Network : n.Port, n.Address, n.Mac }));
                break;
            case Kind.Route:
                Output.Table(
                    ["VRF", "PREFIX", "TYPE", "NEXT HOPS", "STATE"],
                    resources.Select(r => r.Route).Select(r => new[]
                    {
                        r.VrfInForce, r.Prefix, Output.Word(r.Type), Join(r.NextHops.Select(Hop)), Output.Word(r.Status.State),
                    }));
                break;
            case Kind.Service when format == OutputFormat.Wide:
                Output.Table(
                    ["NAME", "CLUSTER IPS", "EXTERNAL IPS", "PORTS", "STATE", ">READY", ">DRAINING", ">DOWN", ">LOCAL", "VRFS", "SETTINGS", ">NUMBER", ">REVISION", "REASON"],
                    resources.Select(r => r.Service).Select(s => new[]
                    {
                        s.Name, Join(s.ClusterIps), Join(s.ExternalIps.Concat(s.LoadBalancerIps)), Join(s.Ports.Select(PortWords.Text)), Output.State(s.Status.State),
                        $"{s.Status.Ready}", $"{s.Status.Draining}", $"{s.Status.Down}", $"{s.Status.Local}", Join(s.VrfsInForce), Settings(s), $"{s.Status.Number}", $"{s.Revision}", s.Status.Reason,
                    }));
                break;
            case Kind.Service:
                Output.Table(
                    ["NAME", "CLUSTER IPS", "EXTERNAL IPS", "PORTS", "STATE", ">BACKENDS", "REASON"],
                    resources.Select(r => r.Service).Select(s => new[]
                    {
                        s.Name, Join(s.ClusterIps), Join(s.ExternalIps.Concat(s.LoadBalancerIps)), Join(s.Ports.Select(PortWords.Text)), Output.State(s.Status.State),
                        $"{s.Status.Ready}/{s.Status.Ready + s.Status.Draining + s.Status.Down}", s.Status.Reason,
                    }));
                break;
            case Kind.Backend:
                Output.Table(
                    ["SERVICE", "ID", "ADDRESS", "PORTS", ">WEIGHT", "STATE", "NODE"],
                    resources.Select(r => r.Backend).Select(b => new[]
                    {
                        b.Service, ResourceKeys.SplitBackend(b.Name).Id, b.Address, Join(b.Ports.Select(p => p.Name.Length > 0 ? $"{p.Name}={p.Port}" : $"{p.Port}")), $"{b.WeightInForce}",
                        Output.Word(b.State), Or(b.Node),
                    }));
                break;
            case Kind.PublishedPort:
                Output.Table(
                    ["NAME", "VRF", "AT", "PROTOCOL", "TO", "CONTAINER"],
                    resources.Select(r => r.PublishedPort).Select(p => new[]
                    {
                        p.Name, p.VrfInForce, Join(p.Status.At), PortWords.Word(p.Protocol), Join(p.Status.To), p.Port.Length > 0 ? p.Port : p.Address,
                    }));
                break;
            case Kind.Policy:
                Output.Table(
                    ["NAME", ">PACKETS/S", ">BURST", ">BITS/S", ">BURST BYTES", "ISOLATED", ">PORTS"],
                    resources.Select(r => r.Policy).Select(p => new[]
                    {
                        p.Name, Limit(p.RateLimit?.PacketsPerSecond), Limit(p.RateLimit?.PacketBurst), Limit(p.RateLimit?.BitsPerSecond), Limit(p.RateLimit?.ByteBurst),
                        p.Isolated ? "yes" : "no", $"{p.Status.Ports}",
                    }));
                break;
            case Kind.Node:
                Output.Table(
                    ["NAME", "STATE", "VERSION", "STARTED", ">PORTS"],
                    resources.Select(r => r.Node).Select(n => new[]
                    {
                        n.Self ? $"{n.Name} (this one)" : n.Name, n.Online ? "online" : "offline", Or(n.Version),
                        n.Started?.ToDateTimeOffset().ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss", CultureInfo.InvariantCulture) ?? "-", $"{n.Ports}",
                    }));
                break;
            case Kind.Port:
                Output.Table(
                    ["NAME", "NETWORK", "STATE", "DEVICE", "MAC", "ADDRESSES", ">MACS", "REASON"],
                    resources.Select(r => r.Port).Select(p => new[]
                    {
                        p.Name, p.IsRouted ? "(routed)" : p.Network, Output.State(p.Status.State), Device(p), p.Status.Mac, Join(p.IsRouted ? p.Routed.Addresses : p.Status.Addresses), $"{p.Status.LearnedMacs}", p.Status.Reason,
                    }));
                break;
            default:
                Output.Table(
                    ["NETWORK", "VLAN", "MAC", "TARGET"],
                    resources.Select(r => r.StaticMac).Select(m => new[]
                    {
                        m.Network, m.Vlan == 0 ? "-" : m.Vlan.ToString(), m.Mac, m.Drop ? "(drop)" : m.Port,
                    }));
                break;
        }
    }

    private static string Limit(ulong? number) => number is null or 0 ? "-" : $"{number}";

    private static string Device(Port port) => port.AttachmentCase switch
    {
        Port.AttachmentOneofCase.Tap when port.Tap.Netns.Length > 0 => $"{port.Status.Device}@{port.Tap.Netns}",
        _ => port.Status.Device,
    };

    private static string Vlans(Port port) => port.VlanCase switch
    {
        Port.VlanOneofCase.AccessVlan => $"access {port.AccessVlan}",
        Port.VlanOneofCase.Trunk => $"trunk {(port.Trunk.Vlans.Count == 0 ? "all" : string.Join(',', port.Trunk.Vlans))}{(port.Trunk.Native == 0 ? "" : $" native {port.Trunk.Native}")}",
        _ => "-",
    };

    /// <summary>What differs from a port's defaults.</summary>
    private static string Settings(Port port)
    {
        (bool Differs, string Name)[] settings =
        [
            (port is { HasEnabled: true, Enabled: false }, "disabled"), (port.Isolated, "isolated"), (port.Hairpin, "hairpin"), (port.BpduGuard, "bpdu-guard"),
            (port is { HasLearning: true, Learning: false }, "no-learning"), (port is { HasFloodUnknownUnicast: true, FloodUnknownUnicast: false }, "no-flood-unknown-unicast"),
            (port is { HasFloodMulticast: true, FloodMulticast: false }, "no-flood-multicast"), (port is { HasFloodBroadcast: true, FloodBroadcast: false }, "no-flood-broadcast"),
            (port.Policy.Length > 0, $"policy {port.Policy}"),
            (port.StormControl is { PacketsPerSecond: > 0 }, $"storm {port.StormControl?.PacketsPerSecond}/s"),
        ];
        return Join(settings.Where(s => s.Differs).Select(s => s.Name));
    }

    /// <summary>What differs from a service's defaults.</summary>
    private static string Settings(Service service)
    {
        (bool Differs, string Name)[] settings =
        [
            (service.Affinity is not null, $"affinity {service.Affinity?.SecondsInForce}s"), (service.Distribution == Service.Types.Distribution.Maglev, "maglev"), (service.Dsr, "dsr"),
            (service.InternalPolicy == Service.Types.Policy.Local, "internal-local"), (service.ExternalPolicy == Service.Types.Policy.Local, "external-local"),
            (service.Ping != Service.Types.Ping.Never, $"ping {Output.Word(service.Ping)}"), (service.HasSourceNat, service.SourceNat ? "source-nat" : "no-source-nat"),
            (service.BackendRemoval == Service.Types.Removal.Reset, "reset-on-removal"),
        ];
        return Join(settings.Where(s => s.Differs).Select(s => s.Name));
    }

    /// <summary>As in `via 192.0.2.1 dev uplink weight 2`.</summary>
    private static string Hop(NextHop hop)
    {
        string dev = hop.Network.Length > 0 ? hop.Network : hop.Port;
        return (hop.Peer.Length > 0 ? $"peer {hop.Peer}" : $"{(hop.Via.Length > 0 ? $"via {hop.Via}" : "")}{(dev.Length > 0 ? $" dev {dev}" : "")}".TrimStart())
            + (hop.WeightInForce > 1 ? $" weight {hop.Weight}" : "");
    }

    private static string Or(string text) => text.Length > 0 ? text : "-";

    private static string Join(IEnumerable<string> texts) => string.Join(", ", texts) is { Length: > 0 } joined ? joined : "-";
}
