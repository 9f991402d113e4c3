using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.Stages;

/// <summary>
/// What one worker keeps for its tunnels: room for the segments of a large packet, and what it found last, since the next packet
/// most often comes by the same tunnel. Both notes hold for one generation. Nobody else reads or writes it.
/// </summary>
public sealed unsafe class TunnelState : IDisposable
{
    private readonly TunnelTable _table;
    private ulong _portGeneration;
    private uint _port;

    public TunnelState(Segment segment)
    {
        _table = segment.TunnelTable;
        Segments = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)(OutputStage.MaxSegments * sizeof(nint)), 64);
    }

    /// <summary>Segments on their way into a tunnel; the underlay's port may need the worker's other scratch for them meanwhile.</summary>
    public rte_mbuf** Segments { get; }

    /// <summary>A burst is being encapsulated: what now comes to a tunnel came out of one.</summary>
    public bool IsEncapsulating { get; set; }

    // The tunnel found last, as bytes of a packet show it.
    internal ulong Generation;
    internal int Port;
    internal ushort Vrf;
    internal bool IsIPv6;
    internal bool TakesZeroChecksum6;
    internal ulong Key;
    internal ulong Addresses0, Addresses1, Addresses2, Addresses3;

    /// <summary>Whether packets to a UDP port of a VRF are VXLAN packets here.</summary>
    /// <param name="generation">Of the poll.</param>
    /// <param name="vrf">VRF of the interface.</param>
    /// <param name="udpPort">Destination port, in host order.</param>
    public bool IsVxlanPort(ulong generation, ushort vrf, ushort udpPort)
    {
        uint port = ((uint)vrf << 16) | udpPort;
        if (port == _port && generation == _portGeneration)
        {
            return true;
        }
        if (_table.Find(TunnelKey.UdpPort(vrf, udpPort), generation) == 0)
        {
            return false;
        }
        (_port, _portGeneration) = (port, generation);
        return true;
    }

    /// <summary>The port of a peer's tunnel; else 0, with the reason.</summary>
    public int Find(ulong generation, ushort vrf, ushort udpPort, uint vni, bool isIPv6, IPv6Number remote, out DropReason reason)
    {
        reason = DropReason.Count;
        int port = _table.Find(TunnelKey.Peer(vrf, udpPort, vni, isIPv6, remote), generation);
        if (port == 0)
        {
            reason = _table.Find(TunnelKey.Network(vrf, udpPort, vni), generation) == 0 ? DropReason.VxlanVni : DropReason.VxlanVtep;
        }
        return port;
    }

    public void Dispose() => NativeMemory.AlignedFree(Segments);
}
