using Dataplane.Stages;

namespace Dataplane.Workers;

/// <summary>What a worker has under way with neighbours, and how it hears of what others learned of them.</summary>
public sealed unsafe partial class Worker
{
    private const ulong Millisecond = 1_000_000;

    private int _neighbourNews;

    /// <summary>Packets that wait for neighbours, and questions that wait for answers. Only this worker's.</summary>
    public Resolutions Resolutions { get; } = new();

    /// <summary>Tells all workers that a neighbour is known which was not: packets of theirs may wait for it.</summary>
    public void TellNeighbourNews()
    {
        foreach (Worker worker in _siblings)
        {
            Volatile.Write(ref worker._neighbourNews, 1);
        }
        // Either a worker sees the news when it looks once more before it sleeps, or we see that it sleeps.
        Interlocked.MemoryBarrier();
        foreach (Worker worker in _siblings)
        {
            if (worker != this && Volatile.Read(ref worker._sleeping) != 0 && worker.Resolutions.Count != 0)
            {
                worker._wake.Signal();
            }
        }
    }

    /// <summary>Between two polls: looks after neighbours and packets that wait, if there is something to be done.</summary>
    private void LookAfterNeighbours()
    {
        if (Storm.Now >= Nat.Fragments.Next)
        {
            Nat.Fragments.Tick(this);
            FlushFull();
        }
        if (Resolutions.IsBusy && (HasNeighbourNews || Storm.Now >= Resolutions.Next || Resolutions.HasGraves))
        {
            Volatile.Write(ref _neighbourNews, 0);
            NeighbourStage.Tick(this);
            FlushFull();
        }
    }

    private bool HasNeighbourNews => Volatile.Read(ref _neighbourNews) != 0;

    /// <summary>How long the worker may sleep, in milliseconds, when it would sleep so long otherwise.</summary>
    private int SleepFor(int longest)
    {
        ulong next = Resolutions.Count == 0 ? Nat.Fragments.Next : Math.Min(Resolutions.Next, Nat.Fragments.Next);
        if (next == ulong.MaxValue)
        {
            return longest;
        }
        ulong left = next <= Storm.Now ? 0 : next - Storm.Now;
        return (int)Math.Min((ulong)longest, (left / Millisecond) + 1);
    }
}
