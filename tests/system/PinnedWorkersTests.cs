using System.Globalization;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Where the engine's threads run when its workers are pinned.</summary>
public sealed class PinnedWorkersTests
{
    /// <summary>A worker's CPU is the worker's: nothing else of the engine may interrupt it. On a machine with one CPU there is no choice.</summary>
    [Fact]
    public void NothingElseOfTheEngineRunsOnTheWorkersCpu()
    {
        int[] usable = CpuAffinity.Get();
        int cpu = usable[^1];
        using Switch running = Switch.Started("--cores", cpu.ToString(CultureInfo.InvariantCulture));
        Dictionary<string, string> threads = [];
        foreach (string task in Directory.GetDirectories($"/proc/{running.EnginePid}/task"))
        {
            string name = File.ReadAllText(Path.Combine(task, "comm")).Trim();
            string allowed = File.ReadLines(Path.Combine(task, "status")).Single(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
            threads[$"{name} {Path.GetFileName(task)}"] = allowed;
        }

        string worker = Assert.Single(threads.Keys, name => name.StartsWith("worker-0 ", StringComparison.Ordinal));
        Assert.Equal(cpu.ToString(CultureInfo.InvariantCulture), threads[worker]);
        foreach (string expected in (string[])["housekeeping ", "control ", "eal-intr-thread ", "dataplane-engin "])
        {
            Assert.Contains(threads.Keys, name => name.StartsWith(expected, StringComparison.Ordinal));
        }
        string others = CpuAffinity.Format(usable.Length == 1 ? usable : usable.AsSpan(..^1));
        Assert.All(threads.Where(thread => thread.Key != worker), thread => Assert.Equal((thread.Key, others), (thread.Key, thread.Value)));
    }
}
