using System.Globalization;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>What a process takes of the machine.</summary>
public static class ProcessMemory
{
    /// <summary>Its resident memory in bytes.</summary>
    public static long Resident(int pid)
    {
        string line = File.ReadLines(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/status")).First(l => l.StartsWith("VmRSS:", StringComparison.Ordinal));
        return long.Parse(line.AsSpan("VmRSS:".Length).TrimEnd("kB").Trim(), CultureInfo.InvariantCulture) * 1024;
    }

    /// <summary>CPU time of all its threads so far.</summary>
    public static TimeSpan Cpu(int pid)
    {
        // The name, in brackets, may have anything in it. Behind it utime and stime are fields 12 and 13 (proc(5)), in ticks of 10 ms.
        string[] fields = File.ReadAllText(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/stat")).Split(')')[^1].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        return TimeSpan.FromMilliseconds(10 * (long.Parse(fields[11], CultureInfo.InvariantCulture) + long.Parse(fields[12], CultureInfo.InvariantCulture)));
    }

    /// <summary>How long a thread of it was ready to run and had to wait for a CPU.</summary>
    /// <param name="pid">The process.</param>
    /// <param name="name">Name of the thread.</param>
    public static TimeSpan Waited(int pid, string name)
    {
        string task = Directory.EnumerateDirectories(string.Create(CultureInfo.InvariantCulture, $"/proc/{pid}/task"))
            .First(t => File.ReadAllText(Path.Combine(t, "comm")).Trim() == name);
        return TimeSpan.FromMicroseconds(long.Parse(File.ReadAllText(Path.Combine(task, "schedstat")).Split(' ')[1], CultureInfo.InvariantCulture) / 1000.0);
    }
}
