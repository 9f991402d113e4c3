using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.Workers;

/// <summary>
/// Packet buffers: a pair of pools on each NUMA node where a worker runs, so that a worker makes its packets, and a network card on its
/// node puts received ones, in memory that is near. A machine with one node, or workers that are not pinned, have one pair.
/// </summary>
public sealed class BufferPools : IDisposable
{
    /// <summary>Workers that are not pinned: wherever there is room.</summary>
    public const int AnyNode = -1;

    private static int s_serial;

    private readonly Dictionary<int, (MbufPool Small, MbufPool Large)> _pools = [];
    private readonly MbufPool[] _small;
    private readonly int _first;

    /// <param name="options">Numbers and sizes of buffers, on each node.</param>
    /// <param name="nodes">Nodes of the workers, or <see cref="AnyNode"/>; the first one's serve whoever has no node.</param>
    /// <exception cref="DpdkException">There is no memory for them.</exception>
    public BufferPools(EngineOptions options, IReadOnlyList<int> nodes)
    {
        _first = nodes[0];
        try
        {
            foreach (int node in nodes.Distinct())
            {
                int serial = Interlocked.Increment(ref s_serial);
                MbufPool small = MbufPool.Create(
                    $"small{serial}", options.SmallBuffers, privateSize: PacketMeta.SizeInBytes, dataRoom: options.BufferBytes + Mbuf.DefaultHeadroom, socket: node);
                _pools.Add(node, (small, null!));
                _pools[node] = (small, MbufPool.Create($"large{serial}", options.LargeBuffers, cache: 0, privateSize: PacketMeta.SizeInBytes, dataRoom: ushort.MaxValue, socket: node));
            }
        }
        catch
        {
            Dispose();
            throw;
        }
        _small = [.. _pools.Values.Select(p => p.Small)];
        Size = _small.Sum(p => p.Size);
    }

    /// <summary>Buffers for ordinary packets on all nodes, free or not.</summary>
    public int Size { get; }

    /// <summary>Free buffers for ordinary packets; see <see cref="MbufPool.Available"/>.</summary>
    public int Available
    {
        get
        {
            int free = 0;
            foreach (MbufPool pool in _small)
            {
                free += pool.Available;
            }
            return free;
        }
    }

    /// <summary>The pool for ordinary packets near a node, a device's or a worker's; <see cref="AnyNode"/> for none.</summary>
    public MbufPool Small(int node) => Near(node).Small;

    /// <summary>The pool for what exceeds them.</summary>
    public MbufPool Large(int node) => Near(node).Large;

    public void Dispose()
    {
        foreach ((MbufPool small, MbufPool? large) in _pools.Values)
        {
            small.Dispose();
            large?.Dispose();
        }
        _pools.Clear();
    }

    private (MbufPool Small, MbufPool Large) Near(int node) => _pools.TryGetValue(node, out var pools) ? pools : _pools[_first];
}
