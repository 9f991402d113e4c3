namespace Dataplane.SystemTests.Harness;

/// <summary>
/// The link between two nodes: a veth pair, each end in a node's namespace. What one kernel leaves to a device (checksums, segments)
/// is done before the packet crosses, as on a wire.
/// </summary>
public sealed class Underlay
{
    /// <summary>Name of the device in both namespaces.</summary>
    public const string Device = "under0";

    public Underlay(Namespace one, Namespace other, int mtu = 1500)
    {
        one.Do("ip", "link", "add", Device, "type", "veth", "peer", "name", Device, "netns", other.Name);
        foreach (Namespace end in new[] { one, other })
        {
            end.Do("ethtool", "-K", Device, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off");
            end.Do("ip", "link", "set", Device, "mtu", $"{mtu}", "up");
        }
    }
}
