using System.Diagnostics;

namespace Dataplane.UnitTests.Interop.Dpdk;

/// <summary>Compiler runs and other child processes.</summary>
internal static class Shell
{
    /// <summary>Runs a program to its end and returns its standard output; fails the test on any other exit code than 0.</summary>
    public static string Run(string program, params IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, $"{program} ended with {process.ExitCode}: {errors.Result}");
        return output;
    }

    /// <summary>The compiler flags of the installed DPDK.</summary>
    public static string[] DpdkFlags() =>
        Run("pkg-config", "--cflags", "libdpdk").Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries);

    /// <summary>The root of the source tree that this test was built in.</summary>
    public static string RepositoryRoot()
    {
        var directory = new DirectoryInfo(AppContext.BaseDirectory);
        while (!File.Exists(Path.Combine(directory.FullName, "native", "dpshim.h")))
            directory = directory.Parent ?? throw new DirectoryNotFoundException("no native/dpshim.h above the tests");
        return directory.FullName;
    }

    /// <summary>A fresh directory; the caller removes it.</summary>
    public static string TemporaryDirectory() => Directory.CreateTempSubdirectory("dataplane-test-").FullName;
}
