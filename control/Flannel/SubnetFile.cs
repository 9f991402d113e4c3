using System.Globalization;
using System.Text;
using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>
/// flannel's subnet.env, by which others on the node (flannel's CNI plug-in, mk-docker-opts.sh) learn its subnet. It is
/// also this node's memory of the subnet it had.
/// </summary>
internal static class SubnetFile
{
    /// <summary>flannel's place for it.</summary>
    public const string DefaultPath = "/run/flannel/subnet.env";

    private const UnixFileMode DirectoryMode = (UnixFileMode)0b111_101_101, FileMode = (UnixFileMode)0b110_100_100;

    /// <summary>Its content. The subnet's address is its first usable one, the gateway's.</summary>
    /// <param name="config">The network.</param>
    /// <param name="subnets">This node's subnets.</param>
    /// <param name="mtu">Largest packet of a container in bytes.</param>
    public static string Content(FlannelConfig config, LeaseSubnets subnets, int mtu)
    {
        var text = new StringBuilder();
        Append("FLANNEL", config.IPv4, subnets.IPv4);
        Append("FLANNEL_IPV6", config.IPv6, subnets.IPv6);
        // Who reads the file may masquerade: the network of the leases does not.
        return text.Append(CultureInfo.InvariantCulture, $"FLANNEL_MTU={mtu}\nFLANNEL_IPMASQ=false\n").ToString();

        void Append(string name, SubnetPool? pool, Cidr? subnet)
        {
            if (pool is not null && subnet is { } own)
            {
                text.Append(CultureInfo.InvariantCulture, $"{name}_NETWORK={pool.Network.GoText}\n{name}_SUBNET={new Cidr(own.Address.Plus(1), own.Length).GoText}\n");
            }
        }
    }

    /// <summary>Writes it unless it is so already. Readers see the old or the new file, whole.</summary>
    /// <exception cref="IOException">It cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">It may not be written.</exception>
    public static void Write(string path, string content)
    {
        if (File.Exists(path) && File.ReadAllText(path) == content)
        {
            return;
        }
        string directory = Path.GetDirectoryName(Path.GetFullPath(path))!;
        Directory.CreateDirectory(directory, DirectoryMode);
        string fresh = Path.Combine(directory, $".{Path.GetFileName(path)}.{Path.GetRandomFileName()}");
        try
        {
            using (var stream = new FileStream(fresh, System.IO.FileMode.Create, FileAccess.Write))
            {
                // Whatever the umask, as flanneld: its readers may be anybody.
                File.SetUnixFileMode(stream.SafeFileHandle, FileMode);
                stream.Write(Encoding.ASCII.GetBytes(content));
                stream.Flush(flushToDisk: true);
            }
            File.Move(fresh, path, overwrite: true);
        }
        catch
        {
            File.Delete(fresh);
            throw;
        }
    }

    /// <summary>The subnets that the file names; null when there is no file, or none that names one.</summary>
    public static LeaseSubnets? ReadSubnets(string path)
    {
        string[] lines;
        try
        {
            lines = File.ReadAllLines(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
        Cidr? ipv4 = Find("FLANNEL_SUBNET=", ipv6: false), ipv6 = Find("FLANNEL_IPV6_SUBNET=", ipv6: true);
        return ipv4 is null && ipv6 is null ? null : new LeaseSubnets(ipv4, ipv6);

        Cidr? Find(string name, bool ipv6) => lines.Select(l => l.Trim()).LastOrDefault(l => l.StartsWith(name, StringComparison.Ordinal)) is { } line
            && Cidr.TryParse(line[name.Length..].Trim('"', '\''), out Cidr subnet) && subnet.IsIPv6 == ipv6 ? subnet.Prefix : null;
    }
}
