using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.ThroughputBench.Control;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Two nodes, each with our switch as it is installed, a container, and a network device to the other one; their network is one, over VXLAN.</summary>
public sealed class SwitchNodes : ContainerNetwork
{
    private readonly List<DaemonSubject> _daemons = [];

    /// <param name="directory">For the daemons' files.</param>
    /// <param name="engine">Path of the engine.</param>
    /// <param name="workers">Workers of each.</param>
    /// <param name="cancel">Ends the start.</param>
    public SwitchNodes(string directory, string engine, int workers, CancellationToken cancel)
    {
        try
        {
            string[] nodes = [Namespaces.Create("node1"), Namespaces.Create("node2")], containers = [First, Second], addresses = [FirstAddress, SecondAddress];
            Veth.ConnectNodes(nodes[0], nodes[1]);
            for (int i = 0; i < nodes.Length; i++)
            {
                string files = Path.Combine(directory, nodes[i]);
                Directory.CreateDirectory(files);
                var daemon = new DaemonSubject(files, ["--engine", engine, "--workers", workers.ToString(CultureInfo.InvariantCulture)], cancel, nodes[i]);
                _daemons.Add(daemon);
                daemon.Resources.Apply(new ApplyRequest { Resources = { Node(i, containers[i], $"{addresses[i]}/{PrefixLength}") } });
            }
            Version = _daemons[0].Version;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public override string Version { get; } = "";

    public override IReadOnlyList<int> Processes => [.. _daemons.SelectMany(d => new[] { d.Id, d.EngineId })];

    public override void Dispose()
    {
        _daemons.ForEach(d => d.Dispose());
        base.Dispose();
    }

    private static IEnumerable<Resource> Node(int index, string container, string address)
    {
        yield return new Resource
        {
            Port = new Port { Name = "uplink", Netdev = new Netdev { Device = Veth.Underlay }, Routed = new Routed { Addresses = { EndPoint(index) + "/24" } } },
        };
        yield return new Resource
        {
            Network = new Network { Name = DaemonSubject.Network, Mtu = TunnelledMtu, Vxlan = new Vxlan { Vni = Vni, Local = EndPoint(index) } },
        };
        yield return new Resource { TunnelPeer = new TunnelPeer { Name = "other", Network = DaemonSubject.Network, Address = EndPoint(1 - index) } };
        yield return new Resource
        {
            Port = new Port { Name = "container", Network = DaemonSubject.Network, Tap = new Tap { Netns = container, Addresses = { address } } },
        };
    }

    private static string EndPoint(int index) => string.Create(CultureInfo.InvariantCulture, $"192.0.2.{index + 1}");
}
