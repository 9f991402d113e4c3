using System.Runtime.Versioning;
using Dataplane.ThroughputBench.Vpp;

namespace Dataplane.UnitTests.Benchmarks;

/// <summary>What VPP prints, as the benchmarks read it.</summary>
[SupportedOSPlatform("linux")]
public sealed class VppOutputTests
{
    [Fact]
    public void Telnet_is_not_in_the_text()
    {
        byte[] answer =
        [
            255, 252, 34, 255, 254, 34, 255, 251, 3, // WONT LINEMODE, DONT LINEMODE, WILL SUPPRESS-GO-AHEAD
            255, 253, 24, 255, 250, 24, 1, 255, 240, // DO TERMINAL-TYPE, SB TERMINAL-TYPE SEND SE
            .. "bridge-domain 1\r\nno more\r\n"u8, 0,
        ];
        Assert.Equal("bridge-domain 1\nno more\n", VppOutput.Text(answer));
        Assert.Equal("", VppOutput.Text([255, 250, 24, 1]));
    }

    [Fact]
    public void Interfaces_come_in_the_order_of_their_numbers_with_the_counters_that_are_not_zero()
    {
        const string Text = """
                      Name               Idx    State  MTU (L3/IP4/IP6/MPLS)     Counter          Count
            Ethernet1                         2      up          9000/0/0/0     rx packets              31500544
                                                                                rx bytes              1890032640
                                                                                drops                          3
            Ethernet0                         1     down         9000/0/0/0     tx packets              31500288
                                                                                tx bytes              1890017280
                                                                                tx-error                      32
            local0                            0     down          0/0/0/0       drops                          1
            vxlan_tunnel0                     3      up           0/0/0/0
            """;
        Assert.Equal(
            [
                new VppCounters("Ethernet0", 0, 31_500_288, 32),
                new VppCounters("Ethernet1", 31_500_544, 0, 0),
                new VppCounters("vxlan_tunnel0", 0, 0, 0),
            ],
            VppOutput.Interfaces(Text));
    }

    [Fact]
    public void Nodes_are_those_of_the_workers()
    {
        const string Text = """
            Thread 0 vpp_main (lcore 0)
            Time 1.0, 10 sec internal node vector rate 0.00 loops/sec 5142.30
              vector rates in 0.0000e0, out 0.0000e0, drop 0.0000e0, punt 0.0000e0
                         Name                 State         Calls          Vectors        Suspends     Packet-Clocks    Vectors/Call
            unix-cli-local:1                   active                 3               0              11          2.51e4            0.00
            ---------------
            Thread 1 vpp_wk_0 (lcore 1)
            Time 1.0, 10 sec internal node vector rate 256.00 loops/sec 41025.01
              vector rates in 2.1001e7, out 2.1001e7, drop 0.0000e0, punt 0.0000e0
                         Name                 State         Calls          Vectors        Suspends     Packet-Clocks    Vectors/Call
            Ethernet0-tx                       active             41016        10500096               0          3.07e1          256.00
            dpdk-input                       polling              41016        21000192               0          5.05e1          512.00
            l2-fwd                             active             82032        21000192               0          1.21e1          256.00
            unix-epoll-input                 polling                 41               0               0          9.99e2            0.00
            """;
        Assert.Equal(
            [
                new VppNode("Ethernet0-tx", 41_016, 10_500_096, 30.7),
                new VppNode("dpdk-input", 41_016, 21_000_192, 50.5),
                new VppNode("l2-fwd", 82_032, 21_000_192, 12.1),
                new VppNode("unix-epoll-input", 41, 0, 999),
            ],
            VppOutput.Nodes(Text));
    }

    [Fact]
    public void Errors_of_several_threads_are_added()
    {
        const string Text = """
               Count                     Node                               Reason               Severity
                    12            l2-flood                         L2 flood packets              error
              21000192             l2-fwd                          L2 forward packets            error
                     3            l2-flood                         L2 flood packets              error
            """;
        IReadOnlyDictionary<string, ulong> errors = VppOutput.Errors(Text);
        Assert.Equal(2, errors.Count);
        Assert.Equal(15u, errors["l2-flood: L2 flood packets"]);
        Assert.Equal(21_000_192u, errors["l2-fwd: L2 forward packets"]);
    }

    [Theory]
    [InlineData("L2FIB total/learned entries: 2002/2000  Last scan time: 1.4500e-4sec  Learn limit: 16777216 ", 2000)]
    [InlineData("no l2fib entries", 0)]
    public void Learned_addresses_are_counted_without_static_ones(string text, int learned) => Assert.Equal(learned, VppOutput.Learned(text));

    [Theory]
    [InlineData("max translations per thread: 17384 fib 0\ntotal sessions: 1000 (timed out: 0)\ntcp sessions:\n    total: 0 (timed out: 0)", 1000)]
    [InlineData("", 0)]
    public void Sessions_are_all_of_them(string text, int sessions) => Assert.Equal(sessions, VppOutput.Sessions(text));

    [Theory]
    [InlineData("-- Pool 0 [65536/65536]\n-- Pool 1 [34465/65536]\nTotal timestamps 100001", 100_000)]
    [InlineData("-- Pool 0 [1/65536]\nTotal timestamps 1", 0)]
    [InlineData("", 0)]
    public void Sessions_of_cnat_are_without_the_one_it_has_from_the_start(string text, int sessions) => Assert.Equal(sessions, VppOutput.Timestamps(text));

    [Fact]
    public void Traced_packets_are_as_the_node_saw_them()
    {
        const string Text = """
            ------------------- Start of thread 1 vpp_wk_0 -------------------
            Packet 1

            00:00:03:118222: dpdk-input
              Ethernet0 rx queue 0
              IP4: 0a:00:00:00:00:01 -> 02:00:00:00:00:01
              UDP: 10.64.0.7 -> 10.96.0.3
                tos 0x00, ttl 64, length 46, checksum 0x66b1 dscp CS0 ecn NON_ECN
                fragment id 0x0000
              UDP: 10042 -> 80
                length 26, checksum 0x4c5c
            00:00:03:118230: cnat-input-ip4
              found session
            00:00:03:118234: Ethernet1-tx
              Ethernet1 tx queue 0
              IP4: 02:00:00:00:00:02 -> 0a:00:00:00:00:02
              UDP: 10.64.0.7 -> 10.128.0.3
                tos 0x00, ttl 63, length 46, checksum 0x6791 dscp CS0 ecn NON_ECN
                fragment id 0x0000
              UDP: 10042 -> 8080
                length 26, checksum 0x2c84

            Packet 2

            00:00:03:118222: dpdk-input
              Ethernet0 rx queue 0
              UDP: 10.64.0.7 -> 10.96.0.3
              UDP: 10043 -> 80
            00:00:03:118234: ip4-drop
                fib:0 adj:0 flow:0x00000000
              UDP: 10.64.0.7 -> 10.96.0.3
              UDP: 10043 -> 80
            """;
        Assert.Equal([new VppFlow("10.64.0.7", 10_042, "10.128.0.3", 8080)], VppOutput.Traced(Text, "Ethernet1-tx"));
        Assert.Equal(2, VppOutput.Traced(Text, "dpdk-input").Count);
        Assert.Empty(VppOutput.Traced(Text, "Ethernet0-tx"));
    }
}
