using Dataplane.Interop.Linux;

namespace Dataplane.Control.Daemon;

/// <summary>One daemon per instance: the lock on the pid file in its directory.</summary>
internal static class InstanceLock
{
    /// <summary>Makes the directory and takes the lock.</summary>
    /// <exception cref="DaemonException">Another daemon has it.</exception>
    public static FileLock Acquire(InstancePaths paths)
    {
        while (true)
        {
            try
            {
                Directory.CreateDirectory(paths.Directory);
                if (!FileLock.TryAcquire(paths.Lock, out FileLock? taken, out int holder))
                {
                    throw new DaemonException($"instance \"{paths.Name}\" is already run by process {holder}; end it with `dataplane stop`, or choose another --instance");
                }
                // The one before removes the file as the last thing it does: then the lock is on a file that is no more.
                if (FileLock.ReadPid(paths.Lock) == Environment.ProcessId)
                {
                    return taken;
                }
                taken.Dispose();
            }
            catch (LinuxException e) when (e.Errno == Errno.ENOENT)
            {
                // The same, with the directory.
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new DaemonException($"{paths.Directory} cannot be made: {e.Message}");
            }
        }
    }
}
