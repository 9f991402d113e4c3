using System.Runtime.InteropServices;

namespace Dataplane.ThroughputBench.Control;

/// <summary>Sleep for less than a millisecond. The kernel adds its timer slack of 50 microseconds.</summary>
internal static partial class Microseconds
{
    public static void Sleep(uint microseconds) => _ = usleep(microseconds);

    /// <summary>Not at all when the time is over already.</summary>
    public static void Sleep(TimeSpan time)
    {
        if (time > TimeSpan.Zero)
        {
            Sleep((uint)time.TotalMicroseconds);
        }
    }

    [LibraryImport("libc")]
    private static partial int usleep(uint microseconds);
}
