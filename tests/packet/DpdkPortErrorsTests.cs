using Dataplane.Interop.Dpdk;
using Dataplane.PacketTests.Harness;
using Dataplane.Ports;
using Dataplane.Workers;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests;

/// <summary>
/// Device arguments that are wrong: a text that names the port and the reason, and nothing half-attached. What is attached goes
/// on forwarding.
/// </summary>
public sealed class DpdkPortErrorsTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public DpdkPortErrorsTests()
    {
        Pcap.Write(_directory["good.pcap"], [Of(B, A)]);
        File.WriteAllText(_directory["bad.pcap"], "this is no capture");
        File.WriteAllText(_directory["empty.pcap"], "");
    }

    public void Dispose() => _directory.Dispose();

    public static TheoryData<string, string> Wrong => new()
    {
        // spec, part of the reason
        { "dpdk:net_nonsense0", "no device and no driver" },
        { "dpdk:nonsense", "no device and no driver" },
        { "dpdk:,", "no device and no driver" },
        { "dpdk:0000:ff:1f.7", "no device and no driver" },
        { "dpdk:net_null_e1,nonsense=1", "a parameter may be wrong" },
        { "dpdk:net_null_e2,size=many", "" },
        { "dpdk:net_ring_e1,nonsense=1", "\"nonsense\" is not a parameter of net_ring: nodeaction, internal" },
        { "dpdk:net_ring_e2,nodeaction=x", "" },
        { "dpdk:net_ring_e3,nodeaction=nobody:0:ATTACH", "" },
        { "dpdk:net_pcap_e1,rx_pcap={dir}/none.pcap", "" },
        { "dpdk:net_pcap_e2,rx_pcap={dir}/bad.pcap", "" },
        { "dpdk:net_pcap_e3,nonsense=1", "a parameter may be wrong" },
        { "dpdk:net_memif_e1,role=queen", "" },
        { "dpdk:net_memif_e2,role=server,nonsense=1", "\"nonsense\" is not a parameter of net_memif: id, role" },
        { "dpdk:net_memif_e6,role=client,socket-abstract=no,socket={dir}/none.sock", "a client needs its server to be there first" },
        { "dpdk:net_memif_e3,role=server,socket-abstract=no,socket={dir}/none/memif.sock", "" },
        { "dpdk:net_memif_e4,role=server,socket-abstract=no,socket={dir}/good.pcap", "not a socket; it is left alone" },
        { "dpdk:net_memif_e5,mac=nonsense", "" },
        { "pcap:rx={dir}/none.pcap", "no file" },
        { "pcap:rx={dir}/bad.pcap", "" },
        { "pcap:rx={dir}/empty.pcap", "" },
        { "pcap:rx={dir}/good.pcap,tx={dir}/none/out.pcap", "no directory" },
        { "pcap:rx={dir}/good.pcap,tx={dir}", "is a directory" },
        { "xdp:nosuchdevice0", "" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public void ASpecThatIsWrongLeavesNothingBehind(string text, string reason)
    {
        string spec = text.Replace("{dir}", _directory.Path, StringComparison.Ordinal);
        using TestSwitch sw = new TestSwitch().Port(1).Port(2);
        DpdkPorts.Holdings untouched = DpdkPorts.Holdings.Now();
        string first = Refused(sw, spec);
        Assert.StartsWith("port \"web\": ", first, StringComparison.Ordinal);
        Assert.Contains(reason, first, StringComparison.Ordinal);
        // After the first time, in which a driver is loaded and makes what it keeps.
        DpdkPorts.Holdings before = DpdkPorts.Holdings.Now();
        for (int i = 0; i < 5; i++)
        {
            Assert.Equal(first, Refused(sw, spec));
        }
        DpdkPorts.Holdings after = DpdkPorts.Holdings.Now();
        Assert.Equal(untouched.FirstFreePort, after.FirstFreePort);
        Assert.Equal(before.Descriptors, after.Descriptors);
        if (!spec.Contains("net_memif", StringComparison.Ordinal)) // which loses a few bytes of DPDK's memory each time
        {
            Assert.Equal(before.Allocations, after.Allocations);
        }
        Assert.Equal([1, 2], sw.Engine.Ports.Select(port => port.Index));
        Assert.Equal(Dataplane.Memory.PortState.Detached, sw.Runtime(3).State);
        sw.Send(1, Of(B, A));
        Assert.Equal("2", sw.Outputs());
    }

    private static string Refused(TestSwitch sw, string spec)
    {
        Exception? e = Record.Exception(() => PortFactory.Create(sw.Engine, 3, "web", PortSpec.Parse(spec), mtu: 0, mac: 0, fds: []).Dispose());
        Assert.True(e is DpdkException or FormatException or IOException, $"{e?.GetType()}: {e?.Message}");
        return e!.Message;
    }

    [Fact]
    public void ADeviceIsAttachedOnce()
    {
        using TestSwitch sw = new TestSwitch().Port(1);
        string device = DpdkPorts.Unique("net_null");
        sw.Device(2, $"dpdk:{device},no-rx=1");
        Assert.Contains("it is attached already", Refused(sw, $"dpdk:{device},no-rx=1"), StringComparison.Ordinal);
        // And the one that has it is as it was.
        sw.Send(1, Of(Broadcast, A));
        Assert.Equal(1ul, sw.Counters(2).TxPackets);
        sw.Detach(2);
        sw.Device(2, $"dpdk:{device},no-rx=1");
    }

    [Theory]
    [InlineData("dpdk:net_null_f1,no-rx=1")]
    [InlineData("memory:m")]
    [InlineData("pcap:tx=/dev/null")]
    public void OnlyATapComesWithDescriptors(string spec)
    {
        using TestSwitch sw = new();
        string text = Assert.Throws<ArgumentException>(() => PortFactory.Create(sw.Engine, 3, "web", PortSpec.Parse(spec), 0, 0, [1 << 20])).Message;
        Assert.StartsWith("port \"web\": only a TAP comes with descriptors", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(3)]
    public void ATapComesWithOneDescriptorPerWorker(int descriptors)
    {
        using TestSwitch sw = new(workers: 2);
        string text = Assert.Throws<ArgumentException>(() =>
            PortFactory.Create(sw.Engine, 3, "web", PortSpec.Parse("tap:web"), 0, 0, new int[descriptors])).Message;
        Assert.StartsWith($"port \"web\": a TAP needs one descriptor per worker, got {descriptors} for 2", text, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(20)] // less than IPv4 allows
    public void AnMtuThatTheDeviceDoesNotTakeIsTold(int mtu)
    {
        using TestSwitch sw = new();
        DpdkPorts.Holdings before = default;
        for (int i = 0; i < 4; i++)
        {
            var e = Assert.Throws<DpdkException>(() =>
                PortFactory.Create(sw.Engine, 3, "web", PortSpec.Parse($"pcap:tx={_directory["mtu.pcap"]}"), mtu, 0, []));
            Assert.StartsWith("port \"web\": ", e.Message, StringComparison.Ordinal);
            Assert.Contains($"MTU {mtu} asked for", e.Message, StringComparison.Ordinal);
            before = i == 0 ? DpdkPorts.Holdings.Now() : before;
        }
        Assert.Equal(before, DpdkPorts.Holdings.Now());
    }

    [Fact]
    public void WrongOnesUnderTrafficDisturbNobody()
    {
        using TestSwitch sw = new TestSwitch(clock: new MonotonicClock()).Port(1).Port(2).Start();
        new Traffic(sw, (1, 2, false), (2, 1, true)).During(() =>
        {
            foreach (string spec in (string[])["dpdk:net_nonsense0", "dpdk:net_null_g1,nonsense=1", $"pcap:rx={_directory["bad.pcap"]}"])
            {
                for (int i = 0; i < 10; i++)
                {
                    Refused(sw, spec);
                }
            }
        });
        sw.Stop();
        Assert.Equal("", sw.Drops());
    }
}
