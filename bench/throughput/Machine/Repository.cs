using System.Diagnostics;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>The clone that this program was built from.</summary>
public static class Repository
{
    /// <summary>Its top, found from where the program lies; the working directory when it lies elsewhere.</summary>
    public static string Root { get; } = FindRoot();

    /// <summary>Short name of the commit, with "+" when files differ from it; null without git.</summary>
    public static string? Commit()
    {
        string? commit = Git("rev-parse", "--short", "HEAD");
        return commit is { Length: > 0 } ? commit + (Git("status", "--porcelain") is { Length: > 0 } ? "+" : "") : null;
    }

    private static string FindRoot()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Dataplane.sln")))
            {
                return at.FullName;
            }
        }
        return Directory.GetCurrentDirectory();
    }

    private static string? Git(params string[] arguments)
    {
        try
        {
            using var git = Process.Start(new ProcessStartInfo("git", ["-C", Root, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true })!;
            string text = git.StandardOutput.ReadToEnd().Trim();
            git.WaitForExit();
            return git.ExitCode == 0 ? text : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null; // no git
        }
    }
}
