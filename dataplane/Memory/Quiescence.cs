using System.Runtime.CompilerServices;

namespace Dataplane.Memory;

/// <summary>
/// Reclamation by quiescent states (QSBR: McKenney and Slingwine, PDCS 1998; Hart et al., IPDPS 2006).
/// <para>
/// A worker holds no reference into a table between two polls; there it announces that by copying the global epoch into
/// its own word (<see cref="Quiescent"/>). Who has unlinked something bumps the global epoch (<see cref="Advance"/>) and
/// may reuse the memory once every online worker has announced that epoch or a later one (<see cref="HasPassed"/>). A
/// worker that is about to sleep goes <see cref="Offline"/> and is not waited for.
/// </para>
/// <para>
/// A worker pays one load and one store per poll, to lines that nobody else writes. Nobody waits for a writer.
/// </para>
/// </summary>
public readonly unsafe struct Quiescence
{
    /// <summary>The announced epoch of a worker that is not reading anything.</summary>
    public const ulong OfflineEpoch = 0;

    private readonly ulong* _global;
    private readonly byte* _workers;
    private readonly int _count;

    /// <param name="global">The global epoch; at least 1.</param>
    /// <param name="workers">Records of the workers, each beginning with its announced epoch.</param>
    /// <param name="count">How many.</param>
    public Quiescence(ulong* global, WorkerRecord* workers, int count)
    {
        _global = global;
        _workers = (byte*)workers;
        _count = count;
    }

    /// <summary>The worker holds no reference: called once per poll.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Quiescent(int worker)
    {
        // The store is a release: every read of the burst before it is done. The load is an acquire: what the next burst
        // reads is at least as new as the epoch announced.
        Volatile.Write(ref Announced(worker), Volatile.Read(ref *_global));
    }

    /// <summary>The worker will read nothing until it is <see cref="Online"/> again.</summary>
    public void Offline(int worker) => Volatile.Write(ref Announced(worker), OfflineEpoch);

    /// <summary>The worker begins to read.</summary>
    public void Online(int worker)
    {
        Volatile.Write(ref Announced(worker), Volatile.Read(ref *_global));
        // The announcement must be visible before the first read: a writer that still sees this worker offline will free
        // what it has unlinked, so this worker must not be able to have read it from before.
        Interlocked.MemoryBarrier();
    }

    /// <summary>Begins a grace period: called after unlinking. Gives the epoch to wait for.</summary>
    public ulong Advance() => Interlocked.Increment(ref *_global);

    /// <summary>Whether every online worker has been quiescent since <see cref="Advance"/> gave this epoch.</summary>
    public bool HasPassed(ulong epoch)
    {
        Interlocked.MemoryBarrier();
        for (int i = 0; i < _count; i++)
        {
            ulong announced = Volatile.Read(ref Announced(i));
            if (announced != OfflineEpoch && announced < epoch)
            {
                return false;
            }
        }
        return true;
    }

    /// <summary>
    /// Waits for a grace period; never called by a worker. Gives false when <paramref name="timeout"/> ran out, which
    /// means that a worker hangs or its process died while online.
    /// </summary>
    public bool Wait(ulong epoch, TimeSpan timeout)
    {
        long end = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        var spin = new SpinWait();
        while (!HasPassed(epoch))
        {
            if (Environment.TickCount64 > end)
            {
                return false;
            }
            spin.SpinOnce(sleep1Threshold: 50);
        }
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private ref ulong Announced(int worker) => ref *(ulong*)(_workers + ((nuint)worker * WorkerRecord.SizeInBytes));
}
