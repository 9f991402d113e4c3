using System.Diagnostics;

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
        using TempDirectory directory = new();
        string file = directory["frames.pcap"];
        Pcap.Write(file, frames);
        const string Good = "1"; // proto_checksum_vals
        string[] arguments =
        [
            "-n", "-r", file, "-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE",
            "-T", "fields", "-E", "separator=,", "-e", "ip.checksum.status", "-e", "tcp.checksum.status", "-e", "udp.checksum.status", "-e", "_ws.malformed",
        ];
        using Process process = Process.Start(new ProcessStartInfo("tshark", arguments) { RedirectStandardOutput = true, RedirectStandardError = true })!;
        Task<string> errors = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, errors.Result);
        return [.. output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line =>
        {
            string[] fields = line.Split(',');
            return new Verdict(fields[0] is Good or "", fields[1] == Good || fields[2] == Good, fields[3].Length != 0);
        })];
    }
}
