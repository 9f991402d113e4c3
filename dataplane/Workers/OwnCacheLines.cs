using System.Runtime.CompilerServices;

namespace Dataplane.Workers;

/// <summary>
/// Base of an object that one thread writes all the time: its fields begin two cache lines (two, for processors fetch them in pairs)
/// behind those of the object before it on the heap, which may be another thread's.
/// </summary>
public abstract class OwnCacheLines
{
    [InlineArray(16)]
    private struct Lines
    {
        private ulong _first;
    }

#pragma warning disable CS0169, IDE0044, IDE0051, CA1823 // nobody uses it, which is its use
    private Lines _before;
#pragma warning restore CS0169, IDE0044, IDE0051, CA1823
}
