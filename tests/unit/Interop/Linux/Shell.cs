using System.Diagnostics;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>Runs a program the tests compare with.</summary>
internal static class Shell
{
    public static string Run(params string[] command)
    {
        using Process process = Start(command);
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return process.ExitCode == 0
            ? output
            : throw new InvalidOperationException($"{string.Join(' ', command)}: exit code {process.ExitCode}: {error.Result}{output}");
    }

    public static Process Start(params string[] command) =>
        Process.Start(new ProcessStartInfo(command[0], command[1..]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
}
