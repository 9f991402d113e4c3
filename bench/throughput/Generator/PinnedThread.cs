using System.Runtime.ExceptionServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;

namespace Dataplane.ThroughputBench.Generator;

/// <summary>A thread on one CPU, known to DPDK. Programs that are started elsewhere do not inherit its CPU.</summary>
public static class PinnedThread
{
    /// <summary>Runs a function on one, and waits for it.</summary>
    public static T Run<T>(int cpu, Func<T> function)
    {
        T? result = default;
        ExceptionDispatchInfo? failure = null;
        var thread = new Thread(() =>
        {
            try
            {
                CpuAffinity.Set(cpu);
                Eal.RegisterThread();
                try
                {
                    result = function();
                }
                finally
                {
                    Eal.UnregisterThread();
                }
            }
            catch (Exception e)
            {
                failure = ExceptionDispatchInfo.Capture(e);
            }
        })
        { Name = "generator", Priority = ThreadPriority.Highest };
        thread.Start();
        thread.Join();
        failure?.Throw();
        return result!;
    }
}
