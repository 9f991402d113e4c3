using System.Globalization;
using System.Numerics;
using Dataplane.Memory;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;
using Dataplane.ThroughputBench.Vpp;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>
/// A learning bridge between two ports, with so many addresses on each side, all of them in conversation with one on the other.
/// Every packet is known unicast: its source is looked up to be learned, its destination to be forwarded.
/// <para>
/// Ports that repeat a capture file are the kind that fits: <c>net_null</c> makes packets of zeroes, which a bridge must drop
/// (a source of 00:00:00:00:00:00 is nobody's), and on a loop of <c>net_ring</c> every packet comes back on the other port, which
/// to a learning bridge is an address that moves with each packet.
/// </para>
/// </summary>
public unsafe class BridgeScenario(int addresses, PacketSizes packets) : Scenario("bridge", addresses), IVppWorkload
{
    /// <summary>Index of the bridge, and its filtering identifier.</summary>
    protected const int Bridge = 1;
    private const int ShortBurst = 4;
    private const int DefaultMacCapacity = 16_384;
    private const int AgeingSeconds = 300;

    /// <summary>Buckets of VPP's table unless told otherwise; four addresses lie in one.</summary>
    private const int VppBuckets = 256 * 1024;

    public override PacketSizes Packets => packets;

    public override int PacketsPerPort => MacPairs.Packets(Size, packets);

    public override Goal? Goal => Size switch
    {
        <= 1 => new Goal(35, 20),
        <= 1_000 => new Goal(40, 25),
        <= 100_000 => new Goal(100, 60),
        _ => null,
    };

    public override Goal? GoalAt(int burst) => burst == ShortBurst && Size <= 1_000 ? new Goal(120, 60) : base.GoalAt(burst);

    public override SegmentOptions SegmentOptions => new() { MacCapacity = Math.Max(DefaultMacCapacity, 2 * Size) };

    public override IReadOnlyList<string> WriteTraffic(string directory)
    {
        string[] paths = [Path.Combine(directory, "a.pcap"), Path.Combine(directory, "b.pcap")];
        for (int side = 0; side < paths.Length; side++)
        {
            MacPairs.Write(paths[side], Size, side, packets);
        }
        return paths;
    }

    public override void Configure(SegmentWriter writer)
    {
        var bridge = new BridgeRecord { Flags = BridgeFlags.Exists, FidBase = Bridge, AgeingSeconds = AgeingSeconds };
        for (int port = FirstPort; port < FirstPort + 2; port++)
        {
            writer.SetPort(port, new PortRecord { Flags = PortFlags.Default, Bridge = Bridge, Mtu = Mtu });
            PortSet.Add(ref bridge.Members, port);
        }
        writer.SetBridge(Bridge, in bridge);
    }

    public override bool IsSettled(Segment segment, out string progress)
    {
        // An address that found no slot near its bucket stays unknown (one in 10^8 does).
        int known = segment.BridgeRuntime[Bridge].Learned;
        ulong full = segment.PortRuntime[FirstPort].TableFull + segment.PortRuntime[FirstPort + 1].TableFull;
        progress = $"{known} of {2 * Size} addresses learned";
        return known >= 2 * Size || (full != 0 && known >= (2 * Size) - 8);
    }

    IEnumerable<string> IVppWorkload.VppSections =>
        [string.Create(CultureInfo.InvariantCulture, $"l2fib {{ table-size 1G num-buckets {BitOperations.RoundUpToPowerOf2((uint)Math.Max(VppBuckets, 2 * Size))} }}")];

    IEnumerable<string> IVppWorkload.VppCommands(IReadOnlyList<string> ports) =>
    [
        $"create bridge-domain {Bridge} mac-age {AgeingSeconds / 60}",
        .. ports.Select(port => $"set interface l2 bridge {port} {Bridge}"),
    ];

    bool IVppWorkload.IsSettled(VppProcess vpp) => VppOutput.Learned(vpp.Ask("show l2fib")) >= 2 * Size;
}
