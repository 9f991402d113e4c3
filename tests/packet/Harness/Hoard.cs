using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;

namespace Dataplane.PacketTests.Harness;

/// <summary>Holds all free buffers of a pool, so that the switch finds none.</summary>
public sealed unsafe class Hoard : IDisposable
{
    private readonly List<nint> _mbufs = [];

    private Hoard(MbufPool pool, int leave)
    {
        rte_mbuf* mbuf;
        while ((mbuf = pool.Allocate()) != null)
        {
            _mbufs.Add((nint)mbuf);
        }
        foreach (nint back in CollectionsMarshal.AsSpan(_mbufs)[..leave])
        {
            Shim.dps_mbuf_free((rte_mbuf*)back);
        }
        _mbufs.RemoveRange(0, leave);
    }

    public static Hoard All(MbufPool pool) => new(pool, 0);

    /// <summary>All but a few.</summary>
    public static Hoard AllBut(MbufPool pool, int leave) => new(pool, leave);

    public void Dispose()
    {
        foreach (nint mbuf in _mbufs)
        {
            Shim.dps_mbuf_free((rte_mbuf*)mbuf);
        }
        _mbufs.Clear();
    }
}
