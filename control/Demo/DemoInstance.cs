namespace Dataplane.Control.Demo;

/// <summary>The demo's instance of the switch: its files, and how its processes are known.</summary>
internal static class DemoInstance
{
    /// <summary>Where the instance keeps its files.</summary>
    public static InstancePaths Files { get; } = InstancePaths.Of(DemoPlan.Instance);

    /// <summary>What the daemon writes to its standard output.</summary>
    public static string Log { get; } = $"{Path.GetDirectoryName(Files.Directory)}-{DemoPlan.Instance}.log";

    /// <summary>Everything of the instance that can lie on disk or in shared memory.</summary>
    public static IReadOnlyList<string> Paths { get; } = [Files.Segment, Files.Directory, Log];

    /// <summary>Whether these are the arguments of the instance's daemon or of its engine.</summary>
    public static bool IsNamedBy(IReadOnlyList<string> arguments) =>
        arguments.Contains(Files.Segment) ||
        (arguments.Contains("run") && arguments.Zip(arguments.Skip(1)).Contains(("--instance", DemoPlan.Instance)));

    /// <summary>Removes the directory of all instances, unless another one has files in it.</summary>
    public static void RemoveEmptyParent()
    {
        string parent = Path.GetDirectoryName(Files.Directory)!;
        if (Directory.Exists(parent) && !Directory.EnumerateFileSystemEntries(parent).Any())
        {
            Directory.Delete(parent);
        }
    }

    /// <summary>The end of what both processes wrote, for a message.</summary>
    public static string LogTail() => string.Join('\n', Tail(Log).Concat(Tail(Files.EngineLog)));

    private static IEnumerable<string> Tail(string path) => File.Exists(path) ? File.ReadLines(path).TakeLast(15) : [];
}
