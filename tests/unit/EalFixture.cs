using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests;

/// <summary>
/// DPDK for tests, without root, huge pages or NICs. DPDK starts once per process, so all test classes that need it are in
/// one collection: put [Collection(EalFixture.Collection)] on the class and take the fixture in its constructor.
/// </summary>
public sealed class EalFixture
{
    public const string Collection = "DPDK";

    /// <summary>Memory of all pools and rings that live at the same time, in MiB; resident only as it is used.</summary>
    public const int MemoryMegabytes = 256;

    private static readonly Lazy<EalStart> Started = new(Start);

    private static int names;

    /// <summary>The prefix that this process gave to EAL.</summary>
    public string FilePrefix => Started.Value.FilePrefix;

    /// <summary>CPUs of the thread that started EAL: what it was bound to before, and what afterwards.</summary>
    public (int[] Before, int[] After) Affinity => (Started.Value.Before, Started.Value.After);

    public EalFixture() => _ = Started.Value;

    /// <summary>A name for a pool, a ring or a port that nothing else in this process has.</summary>
    public string UniqueName(string start) => $"{start}{Interlocked.Increment(ref names)}";

    // On a thread of its own: it gets EAL's first lcore id, and no test is to run with that by chance. Bound to one CPU, so
    // that a binding by EAL shows.
    private static EalStart Start()
    {
        EalStart? started = null;
        Exception? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                var prefix = $"dataplane-test-{Environment.ProcessId}";
                var arguments = Eal.LaptopArguments(MemoryMegabytes, prefix);
                CpuAffinity.Set(CpuAffinity.Get()[0]);
                var before = CpuAffinity.Get();
                Eal.Init(arguments);
                started = new EalStart(prefix, before, CpuAffinity.Get());
            }
            catch (Exception exception)
            {
                failure = exception;
            }
        });
        thread.Start();
        thread.Join();
        return started ?? throw new InvalidOperationException($"DPDK does not start: {failure!.Message}", failure);
    }

    private sealed record EalStart(string FilePrefix, int[] Before, int[] After);
}

[CollectionDefinition(EalFixture.Collection)]
public sealed class EalCollection : ICollectionFixture<EalFixture>;
