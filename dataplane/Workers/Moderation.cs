namespace Dataplane.Workers;

/// <summary>
/// When a network card would moderate its interrupts, for TAP devices. A worker that is faster than those who send finds one, two or six packets
/// at each look, and each time has the kernel wake the receiver for so few. Looking somewhat later, it finds many: fewer looks, writes that
/// carry more (<see cref="Packets.CoalescedPacket"/>), fewer wake-ups, and its CPU is another one's meanwhile.
/// <para>
/// It costs a packet <see cref="GatherTime"/> and a wake-up, some 50 µs. So it is done only while packets come at a rate at which they would
/// wait for each other anyway: not for requests and answers, nor for streams, whose packets are large and thus fewer.
/// </para>
/// </summary>
/// <param name="cyclesPerMillisecond">Of the clock that tells the time.</param>
public struct Moderation(ulong cyclesPerMillisecond)
{
    /// <summary>Packets in a millisecond from which on they may gather.</summary>
    public const uint Many = 250;

    /// <summary>A poll that finds as many has let them gather already.</summary>
    public const int Few = Worker.BurstSize / 4;

    /// <summary>For how long, in nanoseconds.</summary>
    public const int GatherTime = 10_000;

    private ulong _packets, _since;
    private bool _areMany;

    /// <summary>Counts the packets of a poll. Gives whether it was too early: the next one had better come somewhat later.</summary>
    /// <param name="packets">At least one.</param>
    /// <param name="now">In cycles.</param>
    public bool IsEarly(int packets, ulong now)
    {
        _packets += (uint)packets;
        ulong time = now - _since;
        if (time >= cyclesPerMillisecond)
        {
            _areMany = _packets * cyclesPerMillisecond >= Many * time;
            (_packets, _since) = (0, now);
        }
        return _areMany && packets < Few;
    }
}
