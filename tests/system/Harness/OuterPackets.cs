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
            string family = here.Contains(':', StringComparison.Ordinal) ? "ipv6" : "ip";
            Assert.NotEmpty(ByTshark(pair, file, $"vxlan.vni == {pair.Vni} && {family}.src == {here} && {family}.dst == {there}"));
            Assert.NotEmpty(ByTshark(pair, file, $"vxlan.vni == {pair.Vni} && {family}.src == {there} && {family}.dst == {here}"));
            // The kernel writes a sum of zero as 0xFFFF into TCP too, which is the same number in ones' complement and a mistake to tshark.
            Assert.Empty(ByTshark(pair, file, "!vxlan || _ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0"
                + " || (tcp.checksum.status == 0 && tcp.checksum != 0xffff)"
                + " || icmp.checksum.status == 0 || icmpv6.checksum.status == 0"));
            Assert.DoesNotContain(ByTcpdump(file), IsComplaint);
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static string[] ByTshark(OverlayPair pair, string file, string filter) => Lines(Tool.Run([
        "tshark", "-n", "-r", file, "-d", $"udp.port=={pair.UdpPort},vxlan", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
        "-o", "tcp.check_checksum:TRUE", "-Y", filter]));

    /// <summary>Every packet as text, checksums verified.</summary>
    private static string[] ByTcpdump(string file) => Lines(Tool.Run(["tcpdump", "-n", "-vv", "-r", file]));

    /// <summary>tcpdump puts what it cannot read in brackets with a bar, and says of a checksum or a length that it is wrong.</summary>
    private static bool IsComplaint(string line) =>
        new[] { "[|", "bad cksum", "bad udp cksum", "bad icmp6 cksum", "wrong icmp cksum", "(incorrect", "truncated-ip", "[Invalid", "bad-len" }
            .Any(text => line.Contains(text, StringComparison.Ordinal));

    private static string[] Lines(Finished reader) => reader.Succeeds().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
