using System.Buffers.Binary;
using System.Runtime.Versioning;
using Dataplane.Packets;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.UnitTests.Benchmarks;

/// <summary>The packets that the benchmarks send.</summary>
[SupportedOSPlatform("linux")]
public sealed unsafe class TrafficTests : IDisposable
{
    private const int Flows = 20, Ethernet = 14, OuterHeaders = 50;

    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("traffic");

    public void Dispose() => _directory.Delete(recursive: true);

    public static TheoryData<string, string> Workloads()
    {
        var all = new TheoryData<string, string>();
        foreach (string workload in new[] { "bridge", "route4", "route6", "encapsulation", "decapsulation", "service", "mixed", "new", "over VXLAN" })
        {
            foreach (string sizes in new[] { "64", "imix", "1500", "9000" })
            {
                all.Add(workload, sizes);
            }
        }
        return all;
    }

    [Theory]
    [MemberData(nameof(Workloads))]
    public void Packets_have_the_sizes_asked_for_and_say_so(string workload, string sizes)
    {
        PacketSizes packets = PacketSizes.Parse(sizes)!;
        Scenario scenario = workload switch
        {
            "bridge" => new BridgeScenario(Flows, packets),
            "route4" => new RouteScenario(2 * Flows, packets, v6: false),
            "route6" => new RouteScenario(2 * Flows, packets, v6: true),
            "encapsulation" => new EncapsulationScenario(Flows, packets),
            "decapsulation" => new DecapsulationScenario(Flows, packets),
            "service" => new ServiceScenario(Flows, packets),
            "mixed" => new ServiceScenario(Flows, packets, ServiceTraffic.Mixed),
            "new" => new ServiceScenario(Flows, packets, ServiceTraffic.Evicting),
            _ => new ServiceOverVxlanScenario(Flows, packets),
        };
        int ports = 0;
        foreach (string path in scenario.WriteTraffic(_directory.FullName))
        {
            List<byte[]> frames = PcapReader.Read(path);
            int outer = workload == "decapsulation" || (workload == "over VXLAN" && ports == 1) ? OuterHeaders : 0;
            int step = workload == "mixed" ? 2 : 1;
            Assert.Equal(scenario.PacketsPerPort, frames.Count);
            Assert.Equal(step * Flows, frames.Count);
            for (int i = 0; i < frames.Count; i++)
            {
                int length = packets.Length(i / step);
                Assert.Equal((workload == "route6" ? Math.Max(length, UdpFrame.Length6) : length) + outer, frames[i].Length);
                Assert.True(frames[i].Length - Ethernet <= scenario.Mtu, "the ports carry it");
                Assert.True(frames[i].Length <= packets.BufferBytes, "a buffer holds it");
                CheckLengths(frames[i], hasSum: workload is "service" or "mixed" or "new");
            }
            ports++;
        }
        Assert.Equal(workload is "encapsulation" or "decapsulation" or "new" ? 1 : 2, ports);
    }

    [Fact]
    public void One_flow_has_packets_of_all_sizes()
    {
        PacketSizes mix = PacketSizes.Parse("imix")!;
        foreach (Scenario scenario in new Scenario[] { new ServiceScenario(1, mix), new EncapsulationScenario(1, mix), new RouteScenario(2, mix, v6: false) })
        {
            string directory = _directory.CreateSubdirectory(scenario.Name).FullName;
            Assert.All(scenario.WriteTraffic(directory), path => Assert.Equal(mix.Lengths, PcapReader.Read(path).Select(frame => frame.Length)));
        }
    }

    [Fact]
    public void A_flow_has_one_queue_and_each_queue_as_many()
    {
        const int Queues = 3, Many = 1_000;
        string clients = new ServiceScenario(Many, PacketSizes.Smallest, ServiceTraffic.Mixed).WriteTraffic(_directory.FullName)[0];
        IReadOnlyList<string> paths = QueueFiles.Spread(clients, Queues);
        List<byte[]>[] queues = [.. paths.Select(PcapReader.Read)];

        Assert.Equal(Sorted(PcapReader.Read(clients)), Sorted(queues.SelectMany(q => q)));
        uint[][] flows = [.. queues.Select(q => q.Select(Hash).Distinct().ToArray())];
        Assert.Equal(flows.Sum(f => f.Length), flows.SelectMany(f => f).Distinct().Count());
        Assert.InRange(flows.Max(f => f.Length) - flows.Min(f => f.Length), 0, 1);

        static string[] Sorted(IEnumerable<byte[]> packets) => [.. packets.Select(Convert.ToHexString).Order(StringComparer.Ordinal)];
    }

    [Fact]
    public void What_comes_back_may_have_another_queue()
    {
        const int Many = 1_000;
        IReadOnlyList<string> paths = new ServiceScenario(Many, PacketSizes.Smallest).WriteTraffic(_directory.FullName);
        // A client's address and port tell its connections.
        HashSet<ulong> there = [.. PcapReader.Read(QueueFiles.Spread(paths[0], 2)[0]).Select(frame => Client(frame, address: 26, port: 34))];
        HashSet<ulong> back = [.. PcapReader.Read(QueueFiles.Spread(paths[1], 2)[0]).Select(frame => Client(frame, address: 30, port: 36))];
        Assert.Equal((Many / 2, Many / 2), (there.Count, back.Count));
        Assert.InRange(there.Intersect(back).Count(), Many / 8, Many * 3 / 8);

        static ulong Client(byte[] frame, int address, int port) =>
            ((ulong)BinaryPrimitives.ReadUInt32BigEndian(frame.AsSpan(address)) << 16) | BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(port));
    }

    [Fact]
    public void One_queue_replays_the_file_itself_and_too_few_flows_are_refused()
    {
        string path = new ServiceScenario(1, PacketSizes.Parse("imix")!).WriteTraffic(_directory.FullName)[0];
        Assert.Equal([path], QueueFiles.Spread(path, 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => QueueFiles.Spread(path, 2));
        Assert.Equal(1, new ServiceScenario(1, PacketSizes.Parse("imix")!).FlowsPerPort);
    }

    private static uint Hash(byte[] frame)
    {
        fixed (byte* data = frame)
        {
            return FlowHash.OfFrame(data, frame.Length, out _);
        }
    }

    /// <summary>The lengths in the outermost headers, and checksums.</summary>
    private static void CheckLengths(byte[] frame, bool hasSum)
    {
        ushort type = BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(12));
        int transport;
        if (type == Wire.EtherTypeIPv4)
        {
            transport = Ethernet + IPv4Header.MinLength;
            Assert.Equal(frame.Length - Ethernet, BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(Ethernet + 2)));
            Assert.Equal(0xFFFFu, Sum(frame.AsSpan(Ethernet, IPv4Header.MinLength)));
        }
        else if (type == Wire.EtherTypeIPv6)
        {
            transport = Ethernet + IPv6Header.Length;
            Assert.Equal(frame.Length - transport, BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(Ethernet + 4)));
        }
        else
        {
            return; // nothing that has a length
        }
        Assert.Equal(frame.Length - transport, BinaryPrimitives.ReadUInt16BigEndian(frame.AsSpan(transport + 4)));
        if (hasSum)
        {
            uint pseudo = Sum(frame.AsSpan(Ethernet + 12, 8)) + Wire.ProtocolUdp + (uint)(frame.Length - transport);
            Assert.Equal(0xFFFFu, Fold(pseudo + Sum(frame.AsSpan(transport))));
        }
    }

    /// <summary>RFC 1071, as it is written there.</summary>
    private static uint Sum(ReadOnlySpan<byte> bytes)
    {
        uint sum = 0;
        for (int i = 0; i < bytes.Length; i += 2)
        {
            sum = Fold(sum + ((uint)bytes[i] << 8) + (i + 1 < bytes.Length ? bytes[i + 1] : 0u));
        }
        return sum;
    }

    private static uint Fold(uint sum) => (sum & 0xFFFF) + (sum >> 16);
}
