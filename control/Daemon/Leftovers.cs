using Dataplane.Control.Engine;
using Dataplane.Control.Pci;
using Dataplane.Control.State.Sqlite;
using Dataplane.Interop.Linux;
using Dataplane.Protocol;

namespace Dataplane.Control.Daemon;

/// <summary>Removes what an instance leaves in the file system, and an engine that runs on without a daemon.</summary>
internal static class Leftovers
{
    /// <summary>Ends a left engine and removes all files. TAP devices go with the engine, which has the last descriptors of them.</summary>
    /// <returns>What was removed and given back, for people, and what could not be.</returns>
    public static async Task<(IReadOnlyList<string> Done, IReadOnlyList<string> Problems)> RemoveAsync(InstancePaths paths, PciBinder binder)
    {
        var removed = new List<string>();
        if (EngineProcess.IsRunning(paths, out int pid))
        {
            var process = new EngineProcess(paths, new EngineCommand { Executable = "" });
            using EngineClient? client = process.FindRunning();
            await process.StopAsync(client, pid);
            removed.Add($"engine process {pid}");
        }
        (IReadOnlyList<string> back, IReadOnlyList<string> problems) = binder.GiveBack(_ => true);
        return ([.. removed.Select(r => $"removed {r}"), .. back, .. RemoveFiles(paths).Select(r => $"removed {r}")], problems);
    }

    /// <summary>
    /// Removes the segment and the instance's directory. The lock file goes last. The list of devices that are still to be given
    /// back stays: nothing else knows how they were.
    /// </summary>
    /// <param name="paths">Where they are.</param>
    /// <param name="keepState">Leave the files of desired state.</param>
    /// <returns>What was removed, for people.</returns>
    public static IReadOnlyList<string> RemoveFiles(InstancePaths paths, bool keepState = false)
    {
        var removed = new List<string>();
        if (File.Exists(paths.Segment))
        {
            File.Delete(paths.Segment);
            removed.Add(paths.Segment);
        }
        if (!Directory.Exists(paths.Directory))
        {
            return removed;
        }
        string[] devices = File.Exists(paths.Devices) ? [paths.Devices, paths.DevicesLock] : [];
        HashSet<string> kept = [paths.Lock, .. devices, .. keepState ? SqliteStore.Files(paths.State) : []];
        foreach (string file in Directory.EnumerateFileSystemEntries(paths.Directory).Where(f => !kept.Contains(f)).ToList())
        {
            File.Delete(file);
            removed.Add(file);
        }
        File.Delete(paths.Lock);
        TryRemoveDirectory(paths.Directory);
        // An engine that was just being started may still make a file before it finds that there is nothing for it.
        for (int i = 0; i < 20 && !keepState && devices.Length == 0 && Directory.Exists(paths.Directory); i++)
        {
            Thread.Sleep(50);
            foreach (string file in Directory.EnumerateFileSystemEntries(paths.Directory).ToList())
            {
                File.Delete(file);
            }
            TryRemoveDirectory(paths.Directory);
        }
        TryRemoveDirectory(Path.GetDirectoryName(paths.Directory)!);
        return removed;
    }

    private static void TryRemoveDirectory(string directory)
    {
        try
        {
            Directory.Delete(directory, recursive: false);
        }
        catch (IOException)
        {
            // Another instance's files are in it.
        }
    }
}
