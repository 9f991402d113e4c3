using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Microsoft.Extensions.Logging;

namespace Dataplane.Control.Daemon;

/// <summary>Finds the instance's segment, or makes it.</summary>
internal static partial class SegmentFile
{
    /// <summary>
    /// Opens the segment that is there, with the addresses and counters in it. Only when no engine uses it and its sizes are
    /// not those asked for, it is made anew.
    /// </summary>
    /// <param name="path">The file.</param>
    /// <param name="options">Sizes asked for.</param>
    /// <param name="nodes">NUMA nodes that its memory is to come from when it is made, near the workers; none for any.</param>
    /// <param name="inUse">Whether an engine runs on it.</param>
    /// <param name="log">Where to say what was done.</param>
    /// <exception cref="DaemonException">It is of another layout, or there is no room for it.</exception>
    public static Segment OpenOrCreate(string path, SegmentOptions options, IReadOnlyCollection<int> nodes, bool inUse, ILogger log)
    {
        try
        {
            if (File.Exists(path))
            {
                Segment existing = Segment.Open(path);
                if (inUse || IsOfSize(existing, options))
                {
                    return existing;
                }
                existing.Dispose();
                File.Delete(path);
                LogOtherSizes(log, path);
            }
            using NumaMemory.Preference near = NumaMemory.TakeFrom(nodes);
            return Segment.Create(path, options);
        }
        catch (Exception e) when (e is SegmentException or LinuxException)
        {
            throw new DaemonException(e.Message);
        }
    }

    private static bool IsOfSize(Segment segment, SegmentOptions options) =>
        segment.MaxWorkers == options.MaxWorkers && segment.MaxPorts == options.MaxPorts && segment.MaxBridges == options.MaxBridges
        && segment.Length == Segment.RequiredLength(options);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path} has other sizes than asked for and no engine uses it: it is made anew, learned addresses and counters are lost")]
    private static partial void LogOtherSizes(ILogger log, string path);
}
