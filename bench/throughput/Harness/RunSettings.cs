using Dataplane.Workers;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>What is the same for every subject of a benchmark.</summary>
public sealed record RunSettings
{
    /// <summary>Packets received at once, unless asked otherwise: the most that the engine takes.</summary>
    public const int FullBurst = Worker.BurstSize;

    /// <summary>Each subject is started so many times, in turn with the others.</summary>
    public required int Runs { get; init; }

    /// <summary>Seconds measured per run.</summary>
    public required int Seconds { get; init; }

    /// <summary>
    /// A run is measured in windows of this length. One second when programs are compared, since testpmd knows no other; shorter
    /// ones of the engine alone find moments in which nothing else disturbs it.
    /// </summary>
    public required TimeSpan Window { get; init; }

    /// <summary>CPUs that forward, one for each worker; the first for one worker.</summary>
    public required IReadOnlyList<int> Cores { get; init; }

    /// <summary>CPUs that can be used, those among them.</summary>
    public required IReadOnlyList<int> Cpus { get; init; }

    /// <summary>Packet buffers from hugepages; without it from ordinary pages, for all subjects alike.</summary>
    public required bool Hugepages { get; init; }

    /// <summary>Packets received at once.</summary>
    public int Burst { get; init; } = FullBurst;

    /// <summary>Threads that forward.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>CPUs of the workers.</summary>
    public IEnumerable<int> WorkerCores => Cores.Take(Workers);

    /// <summary>CPU for whatever else the subjects do: one without a worker, or if there is none one that is not the first worker's.</summary>
    public int OtherCore => Cpus.Except(WorkerCores).Concat(Cpus.Where(cpu => cpu != Cores[0])).FirstOrDefault(Cores[0]);

    /// <summary>No worker is on <see cref="OtherCore"/>.</summary>
    public bool HasOtherCore => !WorkerCores.Contains(OtherCore);
}
