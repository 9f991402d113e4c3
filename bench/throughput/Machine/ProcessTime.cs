using System.Diagnostics;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>CPU time of other processes.</summary>
public static class ProcessTime
{
    /// <summary>User and system time of all threads so far.</summary>
    public static TimeSpan Of(int pid)
    {
        using Process process = Process.GetProcessById(pid);
        return process.TotalProcessorTime;
    }
}
