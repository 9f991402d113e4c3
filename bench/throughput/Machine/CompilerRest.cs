using System.Runtime;

namespace Dataplane.ThroughputBench.Machine;

/// <summary>
/// The runtime compiles what is called often once more, on a thread of its own, some milliseconds at a time: on the CPU of what is measured, if there
/// are no others.
/// </summary>
internal static class CompilerRest
{
    /// <summary>It begins a tenth of a second after the last new method was called.</summary>
    private static readonly TimeSpan Rest = TimeSpan.FromMilliseconds(300), Patience = TimeSpan.FromSeconds(10);

    /// <summary>Waits until this process compiles nothing any more.</summary>
    public static void Wait(CancellationToken cancel)
    {
        long end = Environment.TickCount64 + (long)Patience.TotalMilliseconds;
        for (long before = -1, now = Count(); now != before && Environment.TickCount64 < end; now = Count())
        {
            before = now;
            cancel.WaitHandle.WaitOne(Rest);
            cancel.ThrowIfCancellationRequested();
        }

        static long Count() => JitInfo.GetCompiledMethodCount();
    }
}
