namespace Dataplane.Control.Manifests;

/// <summary>One thing that cannot be understood in a file of resources.</summary>
/// <param name="File">Name of the file, "-" for standard input.</param>
/// <param name="Line">From 1.</param>
/// <param name="Column">From 1.</param>
/// <param name="Message">What is wrong.</param>
public sealed record ManifestProblem(string File, long Line, long Column, string Message)
{
    /// <summary><c>net.yaml:7:5: unknown field "subnet" of network; did you mean "subnets"?</c></summary>
    public override string ToString() => $"{File}:{Line}:{Column}: {Message}";
}

/// <summary>Everything that cannot be understood in files of resources.</summary>
public sealed class ManifestException(IReadOnlyList<ManifestProblem> problems) : Exception(string.Join('\n', problems))
{
    public IReadOnlyList<ManifestProblem> Problems { get; } = problems;
}
