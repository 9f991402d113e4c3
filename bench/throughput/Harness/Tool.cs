using System.Diagnostics;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>Programs that do something and end.</summary>
public static class Tool
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    /// <summary>Runs one to its end. Gives what it printed.</summary>
    /// <param name="program">Its name.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="environment">Variables besides those of this process.</param>
    /// <exception cref="BenchException">There is no such program, or it failed.</exception>
    public static string Run(string program, IReadOnlyList<string> arguments, IReadOnlyDictionary<string, string>? environment = null)
    {
        string path = ProgramPath.Find(program) ?? throw new BenchException($"there is no {program}: install what is missing with `./build.sh setup bench`");
        var start = new ProcessStartInfo(path, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        foreach ((string name, string value) in environment ?? new Dictionary<string, string>())
        {
            start.Environment[name] = value;
        }
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        if (!process.WaitForExit(Patience))
        {
            process.Kill();
            throw new BenchException($"{program} {string.Join(' ', arguments)} does not end");
        }
        return process.ExitCode == 0 ? output : throw new BenchException($"{program} {string.Join(' ', arguments)} failed: {error.Result.Trim()} {output.Trim()}");
    }
}
