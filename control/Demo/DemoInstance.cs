namespace Dataplane.Control.Demo;

/// <summary>An instance of the switch that a demo runs: its files, and how its processes are known.</summary>
/// <param name="Name">Name of the instance.</param>
internal sealed record DemoInstance(string Name)
{
    /// <summary>The one of the demo with one node.</summary>
    public static DemoInstance Single { get; } = new("demo");

    /// <summary>All that any demo has.</summary>
    public static IReadOnlyList<DemoInstance> All { get; } = [Single, .. ClusterPlan.Numbers.Select(OfNode)];

    /// <summary>Where the instance keeps its files.</summary>
    public InstancePaths Files { get; } = InstancePaths.Of(Name);

    /// <summary>What the daemon writes to its standard output.</summary>
    public string Log => $"{Path.GetDirectoryName(Files.Directory)}-{Name}.log";

    /// <summary>Everything of the instance that can lie on disk or in shared memory.</summary>
    public IReadOnlyList<string> Paths => [Files.Segment, Files.Directory, Log];

    /// <summary>The one of a node of the cluster demo.</summary>
    public static DemoInstance OfNode(int number) => new($"demo-node{number}");

    /// <summary>Whether these are the arguments of the instance's daemon or of its engine.</summary>
    public bool IsNamedBy(IReadOnlyList<string> arguments) =>
        arguments.Contains(Files.Segment) ||
        (arguments.Contains("run") && arguments.Zip(arguments.Skip(1)).Contains(("--instance", Name)));

    /// <summary>Removes the directory of all instances, unless another one has files in it.</summary>
    public static void RemoveEmptyParent()
    {
        string parent = Path.GetDirectoryName(Single.Files.Directory)!;
        if (Directory.Exists(parent) && !Directory.EnumerateFileSystemEntries(parent).Any())
        {
            Directory.Delete(parent);
        }
    }

    /// <summary>The end of what both processes wrote, for a message.</summary>
    public string LogTail() => string.Join('\n', Tail(Log).Concat(Tail(Files.EngineLog)));

    private static IEnumerable<string> Tail(string path) => File.Exists(path) ? File.ReadLines(path).TakeLast(15) : [];
}
