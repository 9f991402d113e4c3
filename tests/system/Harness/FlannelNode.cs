using Dataplane.Control.Api.V1;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A node of a flannel network of both address families: a switch that has all it has from a file and from etcd, with an uplink on
/// a device that the kernel uses too, the host's port and one container.
/// </summary>
public sealed class FlannelNode : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("dpsys-flannel-").FullName;

    /// <param name="number">192.0.2.NUMBER and 2001:db8::NUMBER are its addresses on the underlay.</param>
    /// <param name="etcd">etcd's address.</param>
    public FlannelNode(int number, string etcd)
    {
        Number = number;
        string config = Path.Combine(_directory, "node.yaml");
        File.WriteAllText(config,
            $$"""
            ports:
            - name: uplink
              netdev: {device: {{Underlay.Device}}}
              routed: {addresses: [{{PublicIP}}/24, "2001:db8::{{number}}/64"]}
            - name: dp0
              network: flannel
              tap: {host: true}
            """);
        Switch = new Switch("--store", $"etcd://{etcd}/cluster", "--node", $"node{number}", "--flannel", "--underlay", "uplink",
            "--flannel-subnet-file", Path.Combine(_directory, "subnet.env"), "--config", config);
    }

    public int Number { get; }
    public Switch Switch { get; }
    public string PublicIP => $"192.0.2.{Number}";
    public FlannelStatus Status => Switch.Api.Status.Flannel;

    /// <summary>"10.5.34.0/24", as the node says.</summary>
    public string Subnet => Status.Subnets[0];

    /// <summary>The node's container; null before <see cref="AddContainer"/>.</summary>
    public Station? Container { get; private set; }

    public Station Host => Station("dp0", Switch.Host, "dp0", 1);

    /// <summary>Container and host, by IPv4 and by IPv6.</summary>
    public IEnumerable<Station> Stations => new[] { Container!, Host }.SelectMany(s => new[] { s, OverIPv6(s) });

    /// <summary>A container with addresses of the subnets that the node has now, in place of the one it had.</summary>
    public void AddContainer()
    {
        Namespace ns = Container?.Namespace ?? Switch.Container($"pod{Number}");
        string ipv4 = Address(0, 8), ipv6 = Address(1, 8);
        Switch.Apply($"ports: [{{name: pod, network: flannel, tap: {{netns: {ns.Name}, addresses: [{ipv4}/24, \"{ipv6}/64\"], default_route: true}}}}]");
        Switch.WaitFor("pod", PortStatus.Types.State.Up);
        Container = Station("pod", ns, "eth0", 8);
    }

    public void Dispose()
    {
        Switch.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    private Station Station(string port, Namespace ns, string device, int host) => new(port, ns, device, Address(0, host), Switch.Api.PortStatus(port).Mac);

    /// <summary>The same station by its other address: that of the same number in the IPv6 subnet.</summary>
    private Station OverIPv6(Station station) => station with { Address = Address(1, int.Parse(station.Address.Split('.')[3], System.Globalization.CultureInfo.InvariantCulture)) };

    private string Address(int family, int host)
    {
        string start = Status.Subnets[family].Split('/')[0];
        return family == 0 ? $"{start[..start.LastIndexOf('.')]}.{host}" : $"{start}{host}";
    }
}
