using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Memory;

/// <summary>
/// A record in two versions, each with the generation that made it.
/// <para>
/// A worker reads the committed generation once per burst and takes, of every record it meets, the newest version that
/// is not newer than that generation. A writer fills the older slot of each record it changes with the number of the
/// coming generation, which nobody accepts yet, and then makes the whole batch visible by one store of that number.
/// So a burst sees all of a commit or none of it, and a commit costs what it changes, whatever the size of the table.
/// </para>
/// <para>
/// The older slot may be overwritten only when no worker still reads an earlier generation than the newer slot's:
/// <see cref="SegmentWriter"/> waits for the grace period of the previous commit before it begins the next.
/// </para>
/// </summary>
[StructLayout(LayoutKind.Sequential)]
public struct Versioned<T> where T : unmanaged
{
    /// <summary>Accepted by no reader: the slot is being written.</summary>
    private const ulong InWriting = ulong.MaxValue;

    private ulong _generation0;
    private ulong _generation1;
    private T _value0;
    private T _value1;

    /// <summary>The version that a reader of <paramref name="generation"/> sees. A record never written is all zeroes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static ref readonly T Read(ref readonly Versioned<T> record, ulong generation)
    {
        ulong g0 = Volatile.Read(in record._generation0);
        ulong g1 = Volatile.Read(in record._generation1);
        return ref SeesSecond(g0, g1, generation) ? ref record._value1 : ref record._value0;
    }

    /// <summary>
    /// Writes a version that becomes visible when <paramref name="next"/> is committed. The caller has waited for the grace
    /// period of the commit before.
    /// </summary>
    public static void Write(ref Versioned<T> record, in T value, ulong next)
    {
        BeginWrite(ref record, next) = value;
        EndWrite(ref record, next);
    }

    /// <summary>Whether a version was ever committed.</summary>
    internal static bool WasWritten(ref readonly Versioned<T> record) => (record._generation0 | record._generation1) != 0;

    /// <summary>Whether a reader of <paramref name="generation"/> takes the second slot of a record with these generations.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static bool SeesSecond(ulong g0, ulong g1, ulong generation) => g1 <= generation && (g1 > g0 || g0 > generation);

    /// <summary>Opens for writing the slot that readers of the generation before <paramref name="next"/> do not see.</summary>
    internal static ref T BeginWrite(ref Versioned<T> record, ulong next)
    {
        bool second = !SeesSecond(record._generation0, record._generation1, next - 1);
        Volatile.Write(ref second ? ref record._generation1 : ref record._generation0, InWriting);
        Interlocked.MemoryBarrier();
        return ref second ? ref record._value1 : ref record._value0;
    }

    /// <summary>Closes the slot that <see cref="BeginWrite"/> opened.</summary>
    internal static void EndWrite(ref Versioned<T> record, ulong next) =>
        Volatile.Write(ref record._generation1 == InWriting ? ref record._generation1 : ref record._generation0, next);

    /// <summary>
    /// Takes back a version newer than <paramref name="committed"/>: what a writer left that died before its commit.
    /// </summary>
    public static bool Scrub(ref Versioned<T> record, ulong committed)
    {
        bool scrubbed = false;
        if (record._generation0 > committed)
        {
            Volatile.Write(ref record._generation0, InWriting);
            record._value0 = default;
            Volatile.Write(ref record._generation0, 0);
            scrubbed = true;
        }
        if (record._generation1 > committed)
        {
            Volatile.Write(ref record._generation1, InWriting);
            record._value1 = default;
            Volatile.Write(ref record._generation1, 0);
            scrubbed = true;
        }
        return scrubbed;
    }
}
