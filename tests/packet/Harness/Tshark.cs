using System.Diagnostics;
using System.Globalization;

namespace Dataplane.PacketTests.Harness;

/// <summary>A test that asks tshark; skipped, and reported as such, where it is not installed.</summary>
[AttributeUsage(AttributeTargets.Method)]
public sealed class TsharkFactAttribute : FactAttribute
{
    public TsharkFactAttribute()
    {
        if (!Tshark.IsInstalled)
        {
            Skip = "needs tshark";
        }
    }
}

/// <summary>Wireshark's opinion of frames.</summary>
public static class Tshark
{
    /// <param name="IpGood">The IPv4 header checksum is right, or there is none.</param>
    /// <param name="TransportGood">The TCP or UDP checksum is right.</param>
    /// <param name="Malformed">Some header does not fit.</param>
    public sealed record Verdict(bool IpGood, bool TransportGood, bool Malformed);

    public static bool IsInstalled =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':').Any(directory => File.Exists(Path.Combine(directory, "tshark")));

    /// <summary>One verdict per frame.</summary>
    public static List<Verdict> Check(IEnumerable<byte[]> frames)
    {
        const string Good = "1"; // proto_checksum_vals
        return [.. Fields(frames, "ip.checksum.status", "tcp.checksum.status", "udp.checksum.status", "_ws.malformed")
            .Select(fields => new Verdict(fields[0] is Good or "", fields[1] == Good || fields[2] == Good, fields[3].Length != 0))];
    }

    /// <summary>Every frame is a VXLAN packet of a network, with nothing wrong in any of its headers, outer and inner.</summary>
    public static void AssertVxlan(IReadOnlyCollection<byte[]> frames, uint vni)
    {
        const string Good = "1", NotPresent = "3";
        const long Warning = 0x60_0000; // expert information: chat and note lie below
        List<string[]> packets = Fields(frames, "vxlan.vni", "_ws.malformed", "_ws.expert.severity", "ip.checksum.status", "udp.checksum.status", "tcp.checksum.status");
        Assert.Equal(frames.Count, packets.Count);
        foreach (string[] fields in packets)
        {
            Assert.Equal((vni.ToString(CultureInfo.InvariantCulture), ""), (fields[0], fields[1]));
            Assert.All(Values(fields[2]), severity => Assert.True(long.Parse(severity, CultureInfo.InvariantCulture) < Warning));
            Assert.All(Values(fields[3]), status => Assert.Equal(Good, status));
            Assert.All(Values(fields[4]), status => Assert.Contains(status, (string[])[Good, NotPresent]));
            Assert.All(Values(fields[5]), status => Assert.Equal(Good, status));
        }
    }

    /// <summary>
    /// For each frame what is wrong with it, headers that do not fit or checksums of the outermost packet; empty when nothing is. What an
    /// ICMP error quotes is cut short, and may be what it is about.
    /// </summary>
    public static List<string> Complaints(IEnumerable<byte[]> frames) =>
    [
        .. Fields(frames, "_ws.malformed", "ip.checksum.status", "icmp.checksum.status", "icmpv6.checksum.status", "udp.checksum.status", "tcp.checksum.status")
            .Select(fields =>
            {
                const char Bad = '0';
                bool isIcmp = fields[2].Length + fields[3].Length != 0;
                bool isBad = fields[0].Length != 0 || fields[1..(isIcmp ? 4 : 6)].Any(statuses => statuses.StartsWith(Bad));
                return isBad ? string.Join(',', fields) : "";
            }),
    ];

    private static string[] Values(string field) => field.Split(';', StringSplitOptions.RemoveEmptyEntries);

    /// <summary>Fields of each frame; of one that it has several times, all values.</summary>
    private static List<string[]> Fields(IEnumerable<byte[]> frames, params string[] names)
    {
        using TempDirectory directory = new();
        string file = directory["frames.pcap"];
        Pcap.Write(file, frames);
        string[] arguments =
        [
            "-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
            "-o", "tcp.analyze_sequence_numbers:FALSE", "-T", "fields", "-E", "separator=,", "-E", "aggregator=;", .. names.SelectMany(name => (string[])["-e", name]),
        ];
        using Process process = Process.Start(new ProcessStartInfo("tshark", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors.Result);
        return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(','))];
    }
}
