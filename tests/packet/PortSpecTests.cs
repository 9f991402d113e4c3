using Dataplane.PacketTests.Harness;
using Dataplane.Ports;

namespace Dataplane.PacketTests;

/// <summary>The text that names a device: every spelling that is one, and what the others are told.</summary>
public sealed class PortSpecTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly string _file;

    public PortSpecTests()
    {
        _file = _directory["in.pcap"];
        File.WriteAllText(_file, "");
    }

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("tap:web0", PortKind.Tap, "web0")]
    [InlineData("tap:a:b", PortKind.Tap, "a:b")] // only the first colon parts
    [InlineData("dpdk:net_null0", PortKind.Dpdk, "net_null0")]
    [InlineData("dpdk:net_memif0,role=client,socket=/run/a.sock", PortKind.Dpdk, "net_memif0,role=client,socket=/run/a.sock")]
    [InlineData("dpdk:0000:03:00.1", PortKind.Dpdk, "0000:03:00.1")]
    [InlineData("xdp:eth0", PortKind.Dpdk, "net_af_xdp_eth0,iface=eth0")]
    [InlineData("pcap:rx=/a.pcap", PortKind.Pcap, "rx=/a.pcap")]
    [InlineData("pcap:rx=/a.pcap,tx=/b.pcap,loop", PortKind.Pcap, "rx=/a.pcap,tx=/b.pcap,loop")]
    [InlineData("memory:m", PortKind.Memory, "m")]
    public void Is(string text, PortKind kind, string argument) => Assert.Equal(new PortSpec(kind, argument), PortSpec.Parse(text));

    private const string NoDevice = "names no device: tap:NAME, netdev:NAME, dpdk:DEVARGS, xdp:NETDEV, pcap:rx=FILE,tx=FILE or memory:NAME";
    private const string NoKind = "is not a kind of port: tap, netdev, dpdk, xdp, pcap or memory";

    [Theory]
    [InlineData("", "\"\" " + NoDevice)]
    [InlineData("web0", "\"web0\" " + NoDevice)]
    [InlineData("tap", "\"tap\" " + NoDevice)]
    [InlineData("tap:", "\"tap:\" " + NoDevice)]
    [InlineData("dpdk:", "\"dpdk:\" " + NoDevice)]
    [InlineData("xdp:", "\"xdp:\" " + NoDevice)]
    [InlineData("pcap:", "\"pcap:\" " + NoDevice)]
    [InlineData("memory:", "\"memory:\" " + NoDevice)]
    [InlineData(":", "\":\" " + NoDevice)]
    [InlineData(":web0", "\"\" " + NoKind)]
    [InlineData("TAP:web0", "\"TAP\" " + NoKind)]
    [InlineData(" tap:web0", "\" tap\" " + NoKind)]
    [InlineData("tap :web0", "\"tap \" " + NoKind)]
    [InlineData("taps:web0", "\"taps\" " + NoKind)]
    [InlineData("veth:web0", "\"veth\" " + NoKind)]
    [InlineData("0000:03:00.1", "\"0000\" " + NoKind)] // a PCI address without its kind
    public void IsNot(string text, string says) => Assert.Equal(says, Assert.Throws<FormatException>(() => PortSpec.Parse(text)).Message);

    [Theory]
    [InlineData("rx={in}", "net_pcap7,rx_pcap={in}")]
    [InlineData("tx={out}", "net_pcap7,tx_pcap={out}")]
    [InlineData("rx={in},tx={out}", "net_pcap7,rx_pcap={in},tx_pcap={out}")]
    [InlineData("tx={out},rx={in}", "net_pcap7,tx_pcap={out},rx_pcap={in}")]
    [InlineData("rx={in},loop", "net_pcap7,rx_pcap={in},infinite_rx=1")]
    [InlineData("loop,rx={in},tx={out}", "net_pcap7,infinite_rx=1,rx_pcap={in},tx_pcap={out}")]
    [InlineData(",rx={in},,", "net_pcap7,rx_pcap={in}")]
    public void FilesAreGivenToTheDriver(string argument, string devargs) =>
        Assert.Equal(Fill(devargs), PortSpec.Parse("pcap:" + Fill(argument)).PcapDevargs(7));

    [Theory]
    [InlineData("rx=", "pcap: no file \"\" to receive from")]
    [InlineData("rx=/no/such/file", "pcap: no file \"/no/such/file\" to receive from")]
    [InlineData("rx={dir}", "pcap: no file \"{dir}\" to receive from")]
    [InlineData("tx=", "pcap: \"tx=\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("tx=/no/such/directory/out.pcap", "pcap: no directory \"/no/such/directory\" for \"/no/such/directory/out.pcap\"")]
    [InlineData("tx={dir}", "pcap: \"{dir}\" is a directory")]
    [InlineData("tx={in}/out.pcap", "pcap: no directory \"{in}\" for \"{in}/out.pcap\"")]
    [InlineData("rx={in},loop=1", "pcap: \"loop=1\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("rx={in},loop=", "pcap: \"loop=\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("rx={in},speed=10", "pcap: \"speed=10\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("rx={in}, tx={out}", "pcap: \" tx={out}\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("RX={in}", "pcap: \"RX={in}\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("{in}", "pcap: \"{in}\" is none of rx=FILE, tx=FILE, loop")]
    [InlineData("rx_pcap={in}", "pcap: \"rx_pcap={in}\" is none of rx=FILE, tx=FILE, loop")]
    // The driver would take a second file as a second queue, which nobody reads.
    [InlineData("rx={in},rx={in}", "pcap: rx is given twice")]
    [InlineData("tx={out},tx={out}2", "pcap: tx is given twice")]
    [InlineData("rx={in},loop,loop", "pcap: loop is given twice")]
    [InlineData("loop", "pcap: \"loop\" needs rx=FILE, which it begins again")]
    [InlineData("tx={out},loop", "pcap: \"loop\" needs rx=FILE, which it begins again")]
    [InlineData(",", "pcap: \",\" names no file: rx=FILE, tx=FILE or both")]
    // It would be emptied before it is read.
    [InlineData("rx={in},tx={in}", "pcap: \"{in}\" cannot be received from and written to")]
    [InlineData("rx={in},tx={dir}/./in.pcap", "pcap: \"{dir}/./in.pcap\" cannot be received from and written to")]
    public void FilesThatCannotBeAreRefused(string argument, string says)
    {
        PortSpec spec = PortSpec.Parse("pcap:" + Fill(argument));
        Assert.Equal(Fill(says), Assert.Throws<FormatException>(() => spec.PcapDevargs(7)).Message);
    }

    private string Fill(string text) => text.Replace("{in}", _file, StringComparison.Ordinal)
        .Replace("{out}", _directory["out.pcap"], StringComparison.Ordinal).Replace("{dir}", _directory.Path, StringComparison.Ordinal);
}
