namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>A directory of the test's own; removed by Dispose with all that is in it.</summary>
internal sealed class TempDirectory : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("dpunit-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
