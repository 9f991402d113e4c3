using System.Buffers.Binary;
using System.Net;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;
using Dataplane.ThroughputBench.Vpp;

namespace Dataplane.ThroughputBench.Scenarios;

/// <summary>
/// A router between two ports, with so many prefixes, half of them by a gateway on the one side and half by one on the other. Each packet
/// goes to a random address of one of the prefixes on the other side.
/// </summary>
public sealed unsafe class RouteScenario : Scenario, IVppWorkload
{
    private const ushort Vrf = 1;
    /// <summary>Packets are kept in memory: not more of them than show what a table costs that no cache holds.</summary>
    private const int MostPackets = 100_000;

    private const int Services = 10;

    private readonly bool _v6, _services;
    private readonly PacketSizes _packets;
    private readonly RoutePrefix[] _prefixes;

    /// <param name="prefixes">Routes, at least two.</param>
    /// <param name="packets">Sizes of the packets. The smallest of IPv6 are two bytes longer.</param>
    /// <param name="v6">IPv6.</param>
    /// <param name="services">There are services too, which no packet is for.</param>
    public RouteScenario(int prefixes, PacketSizes packets, bool v6, bool services = false) : base((v6 ? "route IPv6" : "route IPv4") + (services ? " beside services" : ""), prefixes)
    {
        (_packets, _v6, _services) = (packets, v6, services);
        _prefixes = v6 ? RandomPrefixes.Of6(prefixes) : RandomPrefixes.Of4(prefixes);
    }

    public override Goal? Goal => Size switch { < 1000 => new Goal(40, 25), < 100_000 => new Goal(42, 28), _ => new Goal(60, 40) };

    public override PacketSizes Packets => _packets;

    public override int PacketsPerPort => Math.Max(Math.Min(Size / 2, MostPackets), _packets.Lengths.Count);

    public override SegmentOptions SegmentOptions => new() { RouteBytes = (4 << 20) + (512L * Size) };

    /// <summary>What the prefixes take in the segment, once it was configured.</summary>
    public long RouteBytes { get; private set; }

    public override IReadOnlyList<string> WriteTraffic(string directory)
    {
        string[] paths = [Path.Combine(directory, "a.pcap"), Path.Combine(directory, "b.pcap")];
        for (int side = 0; side < paths.Length; side++)
        {
            var random = new Random(side);
            int[] order = [.. Enumerable.Range(0, Size / 2)];
            random.Shuffle(order);
            using var file = new PcapWriter(paths[side]);
            for (int n = 0; n < PacketsPerPort; n++)
            {
                file.Write(PacketTo(_prefixes[(2 * order[n % order.Length]) + 1 - side], side, random, _packets.Length(n)));
            }
        }
        return paths;
    }

    public override void Configure(SegmentWriter writer)
    {
        for (int side = 0; side < 2; side++)
        {
            int port = FirstPort + side;
            writer.SetPort(port, new PortRecord { Flags = PortFlags.Default | PortFlags.Routed, Mtu = Mtu });
            var itf = new InterfaceRecord { Flags = InterfaceFlags.Exists, Vrf = Vrf, Mtu = Mtu, Mac = Mac(side, 1).Value, Count4 = 1, Count6 = 1 };
            itf.Addresses4[0] = new InterfaceAddress4(Address4(side, 1), 0xFFFF_FF00);
            itf.Addresses6[0] = new InterfaceAddress6(Address6(side, 1), new IPv6Number(ulong.MaxValue, 0));
            writer.SetInterface(port, itf);
            writer.SetNextHop(1 + side, new NextHopRecord
            {
                Kind = _v6 ? NextHopKind.Gateway6 : NextHopKind.Gateway4, Port = (ushort)port,
                Gateway = _v6 ? Address6(side, 2) : new IPv6Number(0, Address4(side, 2)),
            });
            NeighbourKey gateway = _v6 ? writer.NeighbourKey6(port, Address6(side, 2)) : NeighbourTable.Key4(port, Address4(side, 2));
            writer.SetNeighbour(in gateway, Mac(side, 2).Value);
        }
        for (int i = 0; i < Size; i++)
        {
            if (_v6)
            {
                writer.SetRoute6(Vrf, _prefixes[i], 1 + (i & 1));
            }
            else
            {
                writer.SetRoute4(Vrf, _prefixes[i], 1 + (i & 1));
            }
        }
        RouteBytes = writer.RouteBytesUsed;
        if (_services)
        {
            ConfigureServices(writer);
        }
    }

    public override bool IsSettled(Segment segment, out string progress)
    {
        progress = "";
        return true;
    }

    /// <summary>10.96.0.1 and those behind it, each with a port.</summary>
    private static void ConfigureServices(SegmentWriter writer)
    {
        for (int i = 1; i <= Services; i++)
        {
            uint address = 0x0A60_0000u + (uint)i;
            writer.SetFrontend((2 * i) - 1, new FrontendRecord { Key = FrontendKey.Of4(Vrf, Wire.ProtocolUdp, address, 80), Flags = FrontendFlags.Exists, Service = (uint)i });
            writer.SetFrontend(2 * i, new FrontendRecord
            {
                Key = FrontendKey.OfAddress(Vrf, false, new IPv6Number(0, address)), Flags = FrontendFlags.Exists | FrontendFlags.Address, Service = (uint)i,
            });
        }
        writer.SetVrfFlags(Vrf, VrfFlags.Tracks);
    }

    IEnumerable<string> IVppWorkload.VppCommands(IReadOnlyList<string> ports)
    {
        for (int side = 0; side < 2; side++)
        {
            yield return $"set interface ip address {ports[side]} {Gateway(side, 1)}/{(_v6 ? 64 : 24)}";
            yield return $"set ip neighbor {ports[side]} {Gateway(side, 2)} {Mac(side, 2)} static";
        }
        for (int i = 0; i < Size; i++)
        {
            yield return $"ip route add {Text(_prefixes[i])} via {Gateway(i & 1, 2)} {ports[i & 1]}";
        }
    }

    private IPAddress Gateway(int side, int number) => _v6 ? Address(Address6(side, number)) : Address(Address4(side, number));

    private string Text(RoutePrefix prefix) =>
        $"{(_v6 ? Address(new IPv6Number(prefix.High, prefix.Low)) : Address(prefix.Address4))}/{prefix.Length}";

    private static IPAddress Address(uint address)
    {
        Span<byte> bytes = stackalloc byte[sizeof(uint)];
        BinaryPrimitives.WriteUInt32BigEndian(bytes, address);
        return new IPAddress(bytes);
    }

    private static IPAddress Address(IPv6Number address)
    {
        Span<byte> bytes = stackalloc byte[2 * sizeof(ulong)];
        BinaryPrimitives.WriteUInt64BigEndian(bytes, address.High);
        BinaryPrimitives.WriteUInt64BigEndian(bytes[sizeof(ulong)..], address.Low);
        return new IPAddress(bytes);
    }

    private byte[] PacketTo(RoutePrefix prefix, int side, Random random, int length)
    {
        MacAddress router = Mac(side, 1), sender = Mac(side, 2);
        ushort port = (ushort)random.Next(1024, 65_536);
        if (_v6)
        {
            ulong host = (ulong)random.NextInt64() >> (prefix.Length - 1);
            return UdpFrame.Of6(router, sender, Address6(side, 3), new IPv6Number(prefix.High | host, (ulong)random.NextInt64()), port, 53, length);
        }
        return UdpFrame.Of4(router, sender, Address4(side, 3), prefix.Address4 | (uint)random.NextInt64(1L << (32 - prefix.Length)), port, 53, length);
    }

    private static MacAddress Mac(int side, int number) => MacPairs.Address(side, number);

    private static uint Address4(int side, int number) => (side == 0 ? 0xC000_0200u : 0xC633_6400u) + (uint)number; // 192.0.2.0, 198.51.100.0

    private static IPv6Number Address6(int side, int number) => new(0x2001_0DB8_0000_0001 + (ulong)side, (ulong)number);
}
