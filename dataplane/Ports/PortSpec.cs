namespace Dataplane.Ports;

/// <summary>What kind of device is behind a port.</summary>
public enum PortKind
{
    Tap,
    Netdev,
    Dpdk,
    Pcap,
    Memory,
}

/// <summary>
/// The device behind a port, as text: <c>tap:NAME</c>, <c>netdev:NAME</c>, <c>dpdk:DEVARGS</c> (a PCI address or a virtual device with its
/// arguments, as DPDK's <c>--vdev</c> takes them), <c>xdp:NETDEV</c>, <c>pcap:rx=FILE,tx=FILE</c>, <c>memory:NAME</c>.
/// </summary>
/// <param name="Kind">Who drives it.</param>
/// <param name="Argument">A device's name, or DPDK's device arguments.</param>
public readonly record struct PortSpec(PortKind Kind, string Argument)
{
    /// <exception cref="FormatException">Says what is wrong and what is possible.</exception>
    public static PortSpec Parse(string text)
    {
        int colon = text.IndexOf(':', StringComparison.Ordinal);
        string kind = colon < 0 ? text : text[..colon];
        string argument = colon < 0 ? "" : text[(colon + 1)..];
        if (argument.Length == 0)
        {
            throw new FormatException($"\"{text}\" names no device: tap:NAME, netdev:NAME, dpdk:DEVARGS, xdp:NETDEV, pcap:rx=FILE,tx=FILE or memory:NAME");
        }
        return kind switch
        {
            "tap" => new PortSpec(PortKind.Tap, argument),
            "netdev" => new PortSpec(PortKind.Netdev, argument),
            "dpdk" => new PortSpec(PortKind.Dpdk, argument),
            "xdp" => new PortSpec(PortKind.Dpdk, $"net_af_xdp_{argument},iface={argument}"),
            "pcap" => new PortSpec(PortKind.Pcap, argument),
            "memory" => new PortSpec(PortKind.Memory, argument),
            _ => throw new FormatException($"\"{kind}\" is not a kind of port: tap, netdev, dpdk, xdp, pcap or memory"),
        };
    }

    /// <summary>The arguments of DPDK's pcap driver. Files replay once unless <c>loop</c> is among them.</summary>
    /// <exception cref="FormatException">Says what is wrong. All that the driver would find out too late, or not at all.</exception>
    public string PcapDevargs(int index)
    {
        var parts = new List<string> { $"net_pcap{index}" };
        string? rx = null, tx = null;
        bool loop = false;
        foreach (string item in Argument.Split(',', StringSplitOptions.RemoveEmptyEntries))
        {
            int equals = item.IndexOf('=', StringComparison.Ordinal);
            string key = equals < 0 ? item : item[..equals], value = equals < 0 ? "" : item[(equals + 1)..];
            switch (key)
            {
                case "rx" when equals >= 0:
                    Once(key, rx != null);
                    rx = value;
                    parts.Add($"rx_pcap={CheckRx(value)}");
                    break;
                case "tx" when value.Length != 0:
                    Once(key, tx != null);
                    tx = value;
                    parts.Add($"tx_pcap={CheckTx(value)}");
                    break;
                case "loop" when equals < 0:
                    Once(key, loop);
                    loop = true;
                    parts.Add("infinite_rx=1");
                    break;
                default:
                    throw new FormatException($"pcap: \"{item}\" is none of rx=FILE, tx=FILE, loop");
            }
        }
        if (loop && rx == null)
        {
            throw new FormatException("pcap: \"loop\" needs rx=FILE, which it begins again");
        }
        if (rx == null && tx == null)
        {
            throw new FormatException($"pcap: \"{Argument}\" names no file: rx=FILE, tx=FILE or both");
        }
        // The driver empties what it writes to when it opens it.
        if (rx != null && tx != null && Path.GetFullPath(rx) == Path.GetFullPath(tx))
        {
            throw new FormatException($"pcap: \"{tx}\" cannot be received from and written to");
        }
        return string.Join(',', parts);
    }

    /// <summary>The driver takes a second file as a second queue, which a port with one queue never looks at.</summary>
    private static void Once(string key, bool given)
    {
        if (given)
        {
            throw new FormatException($"pcap: {key} is given twice");
        }
    }

    private static string CheckRx(string file) =>
        File.Exists(file) ? file : throw new FormatException($"pcap: no file \"{file}\" to receive from");

    private static string CheckTx(string file)
    {
        if (Directory.Exists(file))
        {
            throw new FormatException($"pcap: \"{file}\" is a directory");
        }
        string directory = Path.GetDirectoryName(Path.GetFullPath(file)) ?? "/";
        return Directory.Exists(directory) ? file : throw new FormatException($"pcap: no directory \"{directory}\" for \"{file}\"");
    }
}
