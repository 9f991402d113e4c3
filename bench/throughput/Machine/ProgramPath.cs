namespace Dataplane.ThroughputBench.Machine;

/// <summary>Finds programs as a shell does.</summary>
public static class ProgramPath
{
    /// <summary>The full path of a program on PATH or where system programs are, or null.</summary>
    public static string? Find(string name) =>
        (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Concat(["/usr/bin", "/usr/sbin", "/usr/local/bin"])
            .Select(directory => Path.Combine(directory, name))
            .FirstOrDefault(File.Exists);
}
