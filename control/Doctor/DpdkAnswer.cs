using System.ComponentModel;
using System.Diagnostics;

namespace Dataplane.Control.Doctor;

/// <summary>What the engine says of the DPDK that it finds on the machine.</summary>
/// <param name="Release">"DPDK 22.11.11", or null.</param>
/// <param name="Problem">Why it finds none that it can use, or null.</param>
internal sealed record DpdkAnswer(string? Release, string? Problem)
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    /// <summary>Asks the engine's executable: this process loads no DPDK.</summary>
    public static DpdkAnswer Ask(string? engine)
    {
        if (engine is null)
        {
            return new DpdkAnswer(null, "dataplane-engine was not found");
        }
        try
        {
            using Process process = Process.Start(new ProcessStartInfo(engine, ["dpdk"]) { RedirectStandardOutput = true, RedirectStandardError = true, UseShellExecute = false })!;
            Task<string> errors = process.StandardError.ReadToEndAsync();
            string said = process.StandardOutput.ReadToEnd().Trim();
            return !process.WaitForExit(Patience) ? new DpdkAnswer(null, $"{engine} does not answer")
                : process.ExitCode == 0 ? new DpdkAnswer(said, null) : new DpdkAnswer(null, errors.Result.Trim());
        }
        catch (Win32Exception e)
        {
            return new DpdkAnswer(null, $"{engine}: {e.Message}");
        }
    }
}
