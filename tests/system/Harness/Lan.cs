using System.Globalization;
using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.SystemTests.Harness;

/// <summary>A port of a network, and the container or the host behind it.</summary>
/// <param name="Port">Name of the port.</param>
/// <param name="Namespace">Where its device is.</param>
/// <param name="Device">The device.</param>
/// <param name="Address">Its address, as a rule an IPv4 one.</param>
/// <param name="Mac">Its MAC address.</param>
public sealed record Station(string Port, Namespace Namespace, string Device, string Address, string Mac)
{
    /// <summary>"Every address" of its family, for sockets.</summary>
    public IPAddress Any => Address.Contains(':', StringComparison.Ordinal) ? IPAddress.IPv6Any : IPAddress.Any;

    /// <summary>The address IPv6 gives every device, from now on without waiting for duplicate detection.</summary>
    public string LinkLocal()
    {
        string[] ShowLinkLocal() => Namespace.Do("ip", "-6", "-o", "address", "show", "dev", Device, "scope", "link", "-tentative").Split(' ', StringSplitOptions.RemoveEmptyEntries);
        Until.True(() => ShowLinkLocal().Contains("inet6"), $"{Port} has an IPv6 address");
        string[] words = ShowLinkLocal();
        return words[Array.IndexOf(words, "inet6") + 1].Split('/')[0];
    }

    /// <summary>The device sends frames as they are.</summary>
    public RawSocket OpenRaw() => new(Namespace, Device);

    /// <summary>Records what arrives at the device, and what it sends.</summary>
    public Recording Record(string filter = "") => new(Namespace, Device, filter);
}

/// <summary>A network with stations, on a switch that runs. Names of ports begin with the network's.</summary>
public sealed class Lan
{
    private readonly Dictionary<string, Station> _stations = [];
    private readonly string _prefix;
    private int _addresses = 1;

    /// <param name="on">The switch.</param>
    /// <param name="name">Name of the network, at most 8 characters.</param>
    /// <param name="subnet">10.SUBNET.0.0/16 is used on it: a number that no other test has, as many share one switch.</param>
    /// <param name="settings">Further settings of the network, in YAML: "mtu: 9000, vlan_filtering: true".</param>
    public Lan(Switch on, string name, int subnet, string settings = "")
    {
        Switch = on;
        Name = name;
        _prefix = string.Create(CultureInfo.InvariantCulture, $"10.{subnet}.0.");
        on.Apply($"networks: [{{name: {name}, subnets: [{_prefix}0/16], gateways: [{_prefix}1]{(settings.Length > 0 ? ", " + settings : "")}}}]");
    }

    public Switch Switch { get; }

    public string Name { get; }

    public ApiClient Api => Switch.Api;

    public IEnumerable<Station> Stations => _stations.Values;

    public Station this[string label] => _stations[label];

    /// <summary>Adds the host's port, as station "host".</summary>
    public Station AddHost()
    {
        string port = $"{Name}-host";
        Switch.Apply($"ports: [{{name: {port}, network: {Name}, tap: {{host: true}}}}]");
        return Add("host", port, Switch.Host, port, $"{_prefix}1");
    }

    /// <summary>Adds a container for each label, all with the same further settings of their ports.</summary>
    public void AddContainers(string settings, params string[] labels)
    {
        var added = labels.Select(label => (Label: label, Port: $"{Name}-{label}", Namespace: Switch.Container(label), Address: string.Create(CultureInfo.InvariantCulture, $"{_prefix}{++_addresses}"))).ToList();
        string tail = settings.Length > 0 ? ", " + settings : "";
        Switch.Apply("ports:\n" + string.Concat(added.Select(s =>
            $"- {{name: {s.Port}, network: {Name}, tap: {{netns: {s.Namespace.Name}, addresses: [{s.Address}/16], default_route: true}}{tail}}}\n")));
        foreach ((string label, string port, Namespace ns, string address) in added)
        {
            Add(label, port, ns, "eth0", address);
        }
    }

    private Station Add(string label, string port, Namespace ns, string device, string address)
    {
        Switch.WaitFor(port, PortStatus.Types.State.Up);
        return _stations[label] = new Station(port, ns, device, address, Api.PortStatus(port).Mac);
    }
}
