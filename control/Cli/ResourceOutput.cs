using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary>What the commands of all kinds of resources have in common.</summary>
internal static class ResourceOutput
{
    /// <summary>Creates a resource; refused when it exists.</summary>
    public static async Task CreateAsync(Client client, Resource resource, ParseResult parsed, CancellationToken cancel)
    {
        bool dryRun = parsed.GetValue(Options.DryRun);
        var request = new ApplyRequest { Resources = { resource }, CreateOnly = true, DryRun = dryRun };
        ApplyResponse response = await client.Resources.ApplyAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
        if (!Output.TryPrint(parsed.GetValue(Options.Output), response))
        {
            Output.Changes(response.Changes, dryRun);
        }
    }

    public static async Task DeleteAsync(Client client, Kind kind, IEnumerable<string> names, ParseResult parsed, CancellationToken cancel)
    {
        bool dryRun = parsed.GetValue(Options.DryRun);
        var request = new DeleteRequest { DryRun = dryRun };
        request.Keys.AddRange(names.Select(n => new ResourceKey { Kind = kind, Name = n }));
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
        Google.Protobuf.IMessage content = resource.ResourceCase switch
        {
            Resource.ResourceOneofCase.Network => resource.Network,
            Resource.ResourceOneofCase.Port => resource.Port,
            _ => resource.StaticMac,
        };
        if (!Output.TryPrint(format, content, KindNames.Of(resource.Kind)))
        {
            Table(resource.Kind, [resource], format);
        }
    }

    /// <summary>Prints resources of one kind. JSON and YAML are a manifest, so that they can be applied again.</summary>
    public static void List(Kind kind, IReadOnlyList<Resource> resources, OutputFormat format)
    {
        if (!Output.TryPrint(format, ToManifest(resources)))
        {
            Table(kind, resources, format);
        }
    }

    public static Manifest ToManifest(IEnumerable<Resource> resources)
    {
        var manifest = new Manifest();
        foreach (Resource resource in resources)
        {
            switch (resource.ResourceCase)
            {
                case Resource.ResourceOneofCase.Network: manifest.Networks.Add(resource.Network); break;
                case Resource.ResourceOneofCase.Port: manifest.Ports.Add(resource.Port); break;
                default: manifest.StaticMacs.Add(resource.StaticMac); break;
            }
        }
        return manifest;
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
                        p.Name, p.Network, Output.State(p.Status.State), Device(p), p.Status.Mac, Join(p.Status.Addresses), $"{p.Status.Mtu}", Vlans(p), Settings(p),
                        $"{p.Status.LearnedMacs}", p.LearnLimit == 0 ? "-" : $"{p.LearnLimit}", $"{p.Status.Recoveries}", $"{p.Status.Index}", $"{p.Revision}", p.Status.Reason,
                    }));
                break;
            case Kind.Network:
                Output.Table(
                    ["NAME", "SUBNETS", "GATEWAYS", "MAC", ">MTU", "VLANS", ">PORTS", ">MACS"],
                    resources.Select(r => r.Network).Select(n => new[]
                    {
                        n.Name, Join(n.Subnets), Join(n.Gateways), n.Status?.Mac ?? n.Mac, n.MtuInForce.ToString(), n.VlanFiltering ? "yes" : "no",
                        $"{n.Status?.Ports}", $"{n.Status?.LearnedMacs}",
                    }));
                break;
            case Kind.Port:
                Output.Table(
                    ["NAME", "NETWORK", "STATE", "DEVICE", "MAC", "ADDRESSES", ">MACS", "REASON"],
                    resources.Select(r => r.Port).Select(p => new[]
                    {
                        p.Name, p.Network, Output.State(p.Status.State), Device(p), p.Status.Mac, Join(p.Status.Addresses), $"{p.Status.LearnedMacs}", p.Status.Reason,
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
            (port.StormControl is { PacketsPerSecond: > 0 }, $"storm {port.StormControl?.PacketsPerSecond}/s"),
        ];
        return Join(settings.Where(s => s.Differs).Select(s => s.Name));
    }

    private static string Join(IEnumerable<string> texts) => string.Join(", ", texts) is { Length: > 0 } joined ? joined : "-";
}
