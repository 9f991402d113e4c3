using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.Ports;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Generator;

/// <summary>How the generator and a switch are connected: two ports each, as DPDK names devices.</summary>
/// <param name="Own">The generator's.</param>
/// <param name="OfSwitch">The switch's, each at the other end of one of these.</param>
/// <param name="RxQueues">Queues that the generator receives from.</param>
/// <param name="Name">For the report.</param>
public sealed record GeneratorLink(IReadOnlyList<string> Own, IReadOnlyList<string> OfSwitch, int RxQueues, string Name)
{
    public const int Ports = 2;

    /// <summary>Of a memif's rings, as base-2 logarithm: 4,096 packets, as many as network cards have.</summary>
    private const int RingBits = 12;

    private static int s_serial;

    /// <summary>Whether a port is a network card, which needs hugepages and a driver for user space.</summary>
    public bool HasCards => Own.Concat(OfSwitch).Any(device => PciAddress.OfDevargs(device) is not null);

    /// <summary>Whether a port is a kernel interface, which is seen in its own network namespace only.</summary>
    public bool HasInterfaces => OfSwitch.Any(device => device.Contains("iface=", StringComparison.Ordinal));

    /// <summary>Shared memory.</summary>
    /// <param name="directory">For the sockets.</param>
    /// <param name="rxQueues">As many as the switch sends by: a memif server takes no others.</param>
    public static GeneratorLink Memif(string directory, int rxQueues)
    {
        int serial = ++s_serial;
        List<string> own = [], ofSwitch = [];
        for (int port = 0; port < Ports; port++)
        {
            string socket = Path.Combine(directory, Text($"memif{port}.sock"));
            own.Add(Text($"net_memif{(serial * Ports) + port},role=server,socket-abstract=no,socket={socket},rsize={RingBits}"));
            MemifSocket.Clear(own[port]);
            ofSwitch.Add(Text($"net_memif{port},role=client,socket-abstract=no,socket={socket},rsize={RingBits}"));
        }
        return new GeneratorLink(own, ofSwitch, rxQueues, "memif");
    }

    /// <summary>Devices that are connected outside: network cards and a cable, or interfaces of a veth pair.</summary>
    /// <exception cref="BenchException">Not two of each, or one twice.</exception>
    public static GeneratorLink Wired(IReadOnlyList<string> own, IReadOnlyList<string> ofSwitch)
    {
        if (own.Count != Ports || ofSwitch.Count != Ports)
        {
            throw new BenchException("--port is needed twice, for the switch, and --generator twice, for the ports at the other ends of their cables");
        }
        string[] all = [.. own.Concat(ofSwitch).Select(device => PciAddress.OfDevargs(device) ?? device)];
        if (all.GroupBy(device => device).FirstOrDefault(same => same.Count() > 1) is { } twice)
        {
            throw new BenchException($"\"{twice.Key}\" is named twice: the switch has two ports, and the generator two others");
        }
        return new GeneratorLink(own, ofSwitch, 1, string.Join(" and ", ofSwitch.Zip(own, (port, other) => $"{port} – {other}")));
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
