using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>Removes what test runs that crashed have left: processes, by the pid in their locked pid files, namespaces, files.</summary>
internal static class Leftovers
{
    /// <summary>Names of instances begin with it; the process id of the test run follows.</summary>
    public const string InstancePrefix = "sys";

    private const string RunDirectory = "/run/dataplane", SharedMemory = "/dev/shm";

    /// <summary>Everything that belongs to test runs that are no more.</summary>
    public static void RemoveOfDeadRuns()
    {
        foreach (string name in NetNs.List().Where(n => IsOfDeadRun(n, Namespace.Prefix)))
        {
            NetNs.Delete(name);
        }
        IEnumerable<string> instances = Directory.Exists(RunDirectory) ? Directory.EnumerateDirectories(RunDirectory).Select(d => Path.GetFileName(d)!) : [];
        IEnumerable<string> segments = Directory.EnumerateFiles(SharedMemory, $"dataplane-{InstancePrefix}*").Select(f => Path.GetFileName(f)["dataplane-".Length..]);
        foreach (string instance in instances.Concat(segments).Distinct().Where(i => IsOfDeadRun(i, InstancePrefix)).ToList())
        {
            Remove(instance);
        }
    }

    /// <summary>Everything of one instance, whatever state it is in.</summary>
    public static void Remove(string instance)
    {
        string directory = Path.Combine(RunDirectory, instance);
        if (Directory.Exists(directory))
        {
            Kill(Path.Combine(directory, "control.pid"));
            Kill(Path.Combine(directory, "engine.pid"));
            Directory.Delete(directory, recursive: true);
        }
        File.Delete(Path.Combine(SharedMemory, $"dataplane-{instance}"));
    }

    private static void Kill(string pidFile)
    {
        if (!File.Exists(pidFile))
        {
            return;
        }
        for (int attempt = 0; attempt < 500 && !FileLock.TryAcquire(pidFile, out FileLock? free, out int holder); attempt++)
        {
            if (holder > 0)
            {
                LinuxProcess.Kill(holder, LinuxProcess.SIGKILL);
            }
            Thread.Sleep(10);
        }
    }

    /// <summary>"dpsys-4711-3-web" is of process 4711.</summary>
    private static bool IsOfDeadRun(string name, string prefix)
    {
        if (!name.StartsWith(prefix, StringComparison.Ordinal))
        {
            return false;
        }
        string digits = new([.. name[prefix.Length..].TakeWhile(char.IsAsciiDigit)]);
        return int.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && !IsTestRun(pid);
    }

    private static bool IsTestRun(int pid)
    {
        try
        {
            // A number may have been given to another process since.
            return File.ReadAllText($"/proc/{pid}/cmdline").Contains("testhost", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }
}
