using System.Globalization;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>Hugepages of 2 MiB for the subjects' packet buffers. Reserved only when asked, and given back at the end.</summary>
public sealed class Hugepages : IDisposable
{
    private const string Directory = "/sys/kernel/mm/hugepages/hugepages-2048kB";
    private const int MegabytesPerPage = 2;

    private readonly int? _before;

    /// <param name="megabytes">Memory of the largest subject.</param>
    /// <param name="reserve">Reserve what is missing; else its absence is an error that says how to.</param>
    public Hugepages(int megabytes, bool reserve)
    {
        // Some room for pages that lie such that a buffer pool cannot use them.
        int needed = (megabytes / MegabytesPerPage) + 64;
        int free = Read("free_hugepages");
        if (free >= needed)
        {
            return;
        }
        string command = string.Create(CultureInfo.InvariantCulture, $"echo {needed} > {Directory}/nr_hugepages");
        if (!reserve)
        {
            throw new BenchException($"{free} free hugepages of 2 MiB, {needed} are needed. As root: {command}, or run this with --reserve-hugepages");
        }
        _before = Read("nr_hugepages");
        Write(_before.Value + needed - free);
        if (Read("free_hugepages") < needed)
        {
            int got = Read("free_hugepages");
            Dispose();
            throw new BenchException($"the kernel found memory for {got} of {needed} hugepages of 2 MiB");
        }
    }

    public void Dispose()
    {
        if (_before is { } before)
        {
            Write(before);
        }
    }

    private static int Read(string name)
    {
        string path = Path.Combine(Directory, name);
        return File.Exists(path) ? int.Parse(File.ReadAllText(path), CultureInfo.InvariantCulture) : 0;
    }

    private static void Write(int pages)
    {
        try
        {
            File.WriteAllText(Path.Combine(Directory, "nr_hugepages"), pages.ToString(CultureInfo.InvariantCulture));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new BenchException($"cannot set the number of hugepages: {e.Message}");
        }
    }
}
