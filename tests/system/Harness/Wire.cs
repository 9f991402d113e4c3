namespace Dataplane.SystemTests.Harness;

/// <summary>
/// The link between several nodes: a kernel bridge in a namespace of its own, to which each node has a veth pair named as in
/// <see cref="Underlay"/>, without offloads as there, and
/// with one queue, for AF_XDP takes packets of one. The nodes' kernels have addresses on it too, beside those of the switches.
/// </summary>
public sealed class Wire : IDisposable
{
    private const string Bridge = "br0";
    private int _ends;

    public Wire()
    {
        Namespace.Do("ip", "link", "add", Bridge, "type", "bridge", "mcast_snooping", "0");
        Namespace.Do("ip", "address", "add", $"{Address}/24", "dev", Bridge);
        Namespace.Do("ip", "link", "set", Bridge, "up");
    }

    /// <summary>Where the bridge is, and servers for all nodes may be.</summary>
    public Namespace Namespace { get; } = new("wire");

    /// <summary>Of the bridge itself.</summary>
    public string Address => "198.51.100.254";

    /// <summary>Connects a node.</summary>
    /// <param name="node">Its namespace.</param>
    /// <param name="number">198.51.100.NUMBER is its kernel's.</param>
    public void Connect(Namespace node, int number)
    {
        string here = End(++_ends);
        node.Do("ip", "link", "add", Underlay.Device, "numrxqueues", "1", "numtxqueues", "1", "type", "veth", "peer", "name", here,
            "numrxqueues", "1", "numtxqueues", "1", "netns", Namespace.Name);
        foreach ((Namespace end, string device) in new[] { (node, Underlay.Device), (Namespace, here) })
        {
            end.Do("ethtool", "-K", device, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off");
            end.Do("ip", "link", "set", device, "up");
        }
        Namespace.Do("ip", "link", "set", here, "master", Bridge);
        node.Do("ip", "address", "add", $"198.51.100.{number}/24", "dev", Underlay.Device);
    }

    /// <summary>The bridge's end of a node's link, by the order in which they were connected, from 1.</summary>
    public static string End(int number) => $"end{number}";

    public void Dispose() => Namespace.Dispose();
}
