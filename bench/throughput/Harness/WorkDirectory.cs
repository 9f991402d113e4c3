using System.Globalization;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>
/// A private directory in shared memory for segments, sockets and capture files. It goes when the benchmark ends, whatever way;
/// what a killed one left goes when the next begins.
/// </summary>
public sealed class WorkDirectory : IDisposable
{
    private const string Prefix = "dataplane-bench-";

    private int _count;

    public WorkDirectory()
    {
        string root = Directory.Exists("/dev/shm") ? "/dev/shm" : System.IO.Path.GetTempPath();
        RemoveStale(root);
        Path = System.IO.Path.Combine(root, string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Environment.ProcessId}"));
        Directory.CreateDirectory(Path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    public string Path { get; }

    /// <summary>A new directory in it.</summary>
    public string New(string prefix)
    {
        string path = System.IO.Path.Combine(Path, string.Create(CultureInfo.InvariantCulture, $"{prefix}{++_count}"));
        Directory.CreateDirectory(path);
        return path;
    }

    public void Dispose()
    {
        if (Directory.Exists(Path))
        {
            Directory.Delete(Path, recursive: true);
        }
    }

    private static void RemoveStale(string root)
    {
        foreach (string path in Directory.EnumerateDirectories(root, Prefix + "*"))
        {
            string number = System.IO.Path.GetFileName(path)[Prefix.Length..];
            if (int.TryParse(number, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && !Directory.Exists($"/proc/{pid}"))
            {
                Directory.Delete(path, recursive: true);
            }
        }
    }
}
