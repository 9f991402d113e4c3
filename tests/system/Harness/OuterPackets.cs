using System.Globalization;

namespace Dataplane.SystemTests.Harness;

/// <summary>What crosses the underlay, as the real <c>tcpdump</c> records it and <c>tcpdump</c> and <c>tshark</c> read it.</summary>
public static class OuterPackets
{
    /// <summary>
    /// Records while something is done. Fails unless every outer packet, and every packet in one, can be dissected and has the
    /// checksums it should have, by both programs' account, and there were some in both directions.
    /// </summary>
    public static void AreAllWell(OverlayPair pair, Action action)
    {
        string file = Path.Combine(Path.GetTempPath(), $"dataplane-outer-{Guid.NewGuid():N}.pcap");
        try
        {
            using (Tool tcpdump = pair.Tap.Namespace.Start("tcpdump", "-i", pair.Tap.Device, "-n", "-U", "-B", "32768", "-Z", "root", "-w", file, $"udp port {pair.UdpPort}"))
            {
                tcpdump.WaitFor("listening on");
                action();
                tcpdump.Interrupt();
            }
            (string here, string there) = pair.EndPoints;
            List<Dissected> packets = ByTshark(pair, file);
            string vni = pair.Vni.ToString(CultureInfo.InvariantCulture);
            Assert.Contains(packets, p => p.Is("vxlan.vni", vni) && p.IsFrom(here) && p.IsTo(there));
            Assert.Contains(packets, p => p.Is("vxlan.vni", vni) && p.IsFrom(there) && p.IsTo(here));
            Assert.DoesNotContain(packets, p => p.IsFaulty);
            Assert.DoesNotContain(ByTcpdump(file), IsComplaint);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>What tshark says of every packet, by field; of what is in a packet twice, as addresses in a tunnel are, the outer first.</summary>
    private static List<Dissected> ByTshark(OverlayPair pair, string file) => [.. Lines(Tool.Run([
        "tshark", "-n", "-r", file, "-d", $"udp.port=={pair.UdpPort},vxlan", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
        "-o", "tcp.check_checksum:TRUE", "-T", "fields", "-E", "occurrence=a", "-E", "aggregator=,", .. Dissected.Fields.SelectMany(f => new[] { "-e", f })]))
        .Select(line => new Dissected(line))];

    /// <summary>Every packet as text, checksums verified.</summary>
    private static string[] ByTcpdump(string file) => Lines(Tool.Run(["tcpdump", "-n", "-vv", "-r", file]));

    /// <summary>tcpdump puts what it cannot read in brackets with a bar, and says of a checksum or a length that it is wrong.</summary>
    private static bool IsComplaint(string line) =>
        new[] { "[|", "bad cksum", "bad udp cksum", "bad icmp6 cksum", "wrong icmp cksum", "(incorrect", "truncated-ip", "[Invalid", "bad-len" }
            .Any(text => line.Contains(text, StringComparison.Ordinal));

    private static string[] Lines(Finished reader) => reader.Succeeds().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}

/// <summary>One packet, in tshark's words.</summary>
internal sealed class Dissected(string line)
{
    private const string Bad = "0"; // of a checksum's status; 1 is good, 3 that there is none

    private static readonly string[] s_sums = ["ip.checksum.status", "udp.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status"];

    private readonly string[] _values = line.Split('\t');

    public static string[] Fields { get; } =
        ["frame.number", "vxlan.vni", "ip.src", "ip.dst", "ipv6.src", "ipv6.dst", "_ws.malformed", .. s_sums, "tcp.checksum.status", "tcp.checksum"];

    /// <summary>No tunnel's packet, or one that cannot be read to its end, or has a wrong checksum at any level.</summary>
    // The kernel writes a sum of zero as 0xFFFF into TCP too, which is the same number in ones' complement and a mistake to tshark.
    public bool IsFaulty => Of("vxlan.vni").Length == 0 || Of("_ws.malformed").Length != 0 || s_sums.Any(s => Of(s).Contains(Bad))
        || (Of("tcp.checksum.status").Contains(Bad) && !Is("tcp.checksum", "0xffff"));

    public bool Is(string field, string value) => Of(field) is [var first, ..] && first == value;

    public bool IsFrom(string outer) => Is(outer.Contains(':', StringComparison.Ordinal) ? "ipv6.src" : "ip.src", outer);

    public bool IsTo(string outer) => Is(outer.Contains(':', StringComparison.Ordinal) ? "ipv6.dst" : "ip.dst", outer);

    public override string ToString() => string.Join(' ', Fields.Zip(_values, (field, value) => $"{field}={value}"));

    private string[] Of(string field) => _values[Array.IndexOf(Fields, field)].Split(',', StringSplitOptions.RemoveEmptyEntries);
}
