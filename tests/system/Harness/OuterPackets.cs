namespace Dataplane.SystemTests.Harness;

/// <summary>What crosses the underlay, as the real <c>tcpdump</c> records it and <c>tshark</c> reads it.</summary>
public static class OuterPackets
{
    /// <summary>
    /// Records while something is done. Fails unless every outer packet, and every packet in one, can be dissected and has the
    /// checksums it should have.
    /// </summary>
    public static void AreAllWell(KernelVtepNodes nodes, Action action)
    {
        string file = Path.Combine(Path.GetTempPath(), $"dataplane-outer-{Guid.NewGuid():N}.pcap");
        try
        {
            using (Tool tcpdump = nodes.Kernel.Namespace.Start("tcpdump", "-i", Underlay.Device, "-n", "-U", "-B", "32768", "-Z", "root", "-w", file, "udp port 8472"))
            {
                tcpdump.WaitFor("listening on");
                action();
                tcpdump.Interrupt();
            }
            string source = Overlay.UnderlayAddress(nodes.Ours.Number, nodes.Ours.IPv6Underlay);
            Assert.NotEmpty(Read(file, $"vxlan.vni == 1 && {(nodes.Ours.IPv6Underlay ? "ipv6" : "ip")}.src == {source}"));
            // The kernel writes a sum of zero as 0xFFFF into TCP too, which is the same number in ones' complement and a mistake to tshark.
            Assert.Empty(Read(file, "!vxlan || _ws.malformed || ip.checksum.status == 0 || udp.checksum.status == 0"
                + " || (tcp.checksum.status == 0 && tcp.checksum != 0xffff)"
                + " || icmp.checksum.status == 0 || icmpv6.checksum.status == 0"));
        }
        finally
        {
            File.Delete(file);
        }
    }

    private static string[] Read(string file, string filter) => Tool.Run([
        "tshark", "-n", "-r", file, "-d", "udp.port==8472,vxlan", "-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
        "-o", "tcp.check_checksum:TRUE", "-Y", filter]).Succeeds().Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
}
