using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Engine;

/// <summary>How the engine process is started.</summary>
public sealed record EngineCommand
{
    /// <summary>The executable <c>dataplane-engine</c>.</summary>
    public required string Executable { get; init; }

    /// <summary>Forwarding threads.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>CPUs to pin them to ("2-3,5"), or null.</summary>
    public string? Cores { get; init; }

    /// <summary>NUMA nodes of the pinned workers' CPUs, on a machine that has several; else none.</summary>
    public IReadOnlyList<int> Nodes => Cores is null || NumaMemory.Nodes.Count == 1
        ? []
        : [.. CpuAffinity.Parse(Cores).Take(Workers).Select(CpuAffinity.NodeOf).Where(node => node >= 0).Distinct()];

    /// <summary>Never sleep.</summary>
    public bool BusyPoll { get; init; }

    /// <summary>Share the packets of ports with one receive queue among the workers.</summary>
    public bool Distribute { get; init; }

    /// <summary>Move receive queues from busy workers to idle ones.</summary>
    public bool Balance { get; init; }

    /// <summary>Packet buffers from hugepages, and PCI devices.</summary>
    public bool Hugepages { get; init; }

    /// <summary>MiB for packet buffers; null for the engine's default.</summary>
    public int? Memory { get; init; }

    public IEnumerable<string> Arguments(InstancePaths paths)
    {
        yield return "--segment";
        yield return paths.Segment;
        yield return "--socket";
        yield return paths.EngineSocket;
        yield return "--pid-file";
        yield return paths.EngineLock;
        yield return "--workers";
        yield return Workers.ToString(CultureInfo.InvariantCulture);
        if (Cores is not null)
        {
            yield return "--cores";
            yield return Cores;
        }
        if (Memory is { } memory)
        {
            yield return "--memory";
            yield return memory.ToString(CultureInfo.InvariantCulture);
        }
        if (BusyPoll)
        {
            yield return "--busy-poll";
        }
        if (Distribute)
        {
            yield return "--distribute";
        }
        if (Balance)
        {
            yield return "--balance";
        }
        if (Hugepages)
        {
            yield return "--hugepages";
        }
        yield return "--new-session";
    }

    /// <summary>
    /// Finds the executable: $DATAPLANE_ENGINE, beside this program, or in out/engine of the source tree that this program
    /// was built in. Null when it is nowhere; <paramref name="tried"/> then says where it was looked for.
    /// </summary>
    public static string? Find(out IReadOnlyList<string> tried)
    {
        const string Name = "dataplane-engine";
        if (Environment.GetEnvironmentVariable("DATAPLANE_ENGINE") is { Length: > 0 } set)
        {
            tried = [set];
            return File.Exists(set) ? Path.GetFullPath(set) : null;
        }
        string here = AppContext.BaseDirectory;
        List<string> places = [Path.Combine(here, Name), Path.Combine(here, "..", "engine", Name)];
        for (DirectoryInfo? directory = new(here); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, "Dataplane.sln")))
            {
                places.Add(Path.Combine(directory.FullName, "out", "engine", Name));
                break;
            }
        }
        tried = [.. places.Select(Path.GetFullPath)];
        return tried.FirstOrDefault(File.Exists);
    }
}
