using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Memory;

namespace Dataplane.Workers;

/// <summary>
/// What a network card does when it moderates its interrupts, for TAP devices. A worker that is faster than those who send finds one, two or six
/// packets at each look, and each time has the kernel wake the receiver for so few. Looking somewhat later, it finds many: fewer looks, writes that
/// carry more (<see cref="Packets.CoalescedPacket"/>), fewer wake-ups, and its CPU is another one's meanwhile.
/// <para>
/// It costs a packet <see cref="GatherTime"/> and a wake-up, some 50 µs. So it is done only while packets come at a rate at which they would
/// wait for each other anyway: not for a request and its answer, nor for streams, whose packets are large and thus fewer. It is never done with
/// busy polling, nor where a queue is polled that fills faster than a kernel sends.
/// </para>
/// </summary>
public sealed unsafe partial class Worker
{
    /// <summary>Packets in a millisecond from which on they may gather.</summary>
    private const uint ManyPerMillisecond = 250;

    /// <summary>A poll that finds as many has let them gather already.</summary>
    private const int Few = BurstSize / 4;

    /// <summary>In nanoseconds.</summary>
    private const int GatherTime = 10_000;

    private uint _recent;
    private ulong _recentSince;
    private bool _areMany;

    /// <summary>Whether a poll that found so many packets was too early.</summary>
    private bool ComeInFew(int packets)
    {
        _recent += (uint)packets;
        ulong time = _clockCycles - _recentSince;
        if (time >= _cyclesPerMillisecond)
        {
            _areMany = _recent * _cyclesPerMillisecond >= ManyPerMillisecond * time;
            (_recent, _recentSince) = (0, _clockCycles);
        }
        return _areMany && packets < Few && _set.Polled.Length == 0;
    }

    /// <summary>Leaves the CPU to others for a moment. The worker reads nothing meanwhile, so no writer waits for it.</summary>
    private void LetGather(Quiescence quiescence)
    {
        _record->BusyCycles += Shim.dps_rdtsc() - _lastPoll;
        _foundWork = false;
        quiescence.Offline(Index);
        var time = new timespec { tv_nsec = GatherTime };
        _ = Libc.nanosleep(&time, null);
        quiescence.Online(Index);
        RefreshClock();
        _lastPoll = _clockCycles;
    }
}
