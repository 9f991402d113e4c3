using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using Dataplane.Interop.Dpdk;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// What one worker keeps for its tunnels: room for the segments of a large packet, and what the packets of some tunnels look
/// like, so that the next one is recognised without a look-up. Notes hold for one generation. Nobody else reads or writes it.
/// </summary>
public sealed unsafe class TunnelState : IDisposable
{
    private const uint KnownLimit = 64;

    private readonly TunnelTable _table;
    private readonly KnownTunnel* _known;
    private readonly ulong* _carries;
    private ushort _knownPort;
    private ulong _portGeneration;
    private uint _port;

    public TunnelState(Segment segment)
    {
        _table = segment.TunnelTable;
        _known = (KnownTunnel*)NativeMemory.AlignedAlloc((nuint)(KnownLimit * sizeof(KnownTunnel)), 64);
        NativeMemory.Clear(_known, (nuint)(KnownLimit * sizeof(KnownTunnel)));
        _carries = (ulong*)NativeMemory.AllocZeroed((nuint)segment.MaxPorts, sizeof(ulong));
        // What lies behind a burst is only prefetched.
        Burst = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)((TxBuffer.Capacity + Worker.PrefetchAhead) * sizeof(nint)), 64);
        NativeMemory.Clear(Burst, (nuint)((TxBuffer.Capacity + Worker.PrefetchAhead) * sizeof(nint)));
        Segments = (rte_mbuf**)NativeMemory.AlignedAlloc((nuint)(OutputStage.MaxSegments * sizeof(nint)), 64);
    }

    /// <summary>Segments on their way into a tunnel; the underlay's port may need the worker's other scratch for them meanwhile.</summary>
    public rte_mbuf** Segments { get; }

    /// <summary>The burst that is being encapsulated.</summary>
    public rte_mbuf** Burst { get; }

    /// <summary>A burst is being encapsulated: what now comes to a tunnel came out of one.</summary>
    public bool IsEncapsulating { get; set; }

    /// <summary>Whether tunnels are known by an interface.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool MayKnow(int port, ulong generation) => _carries[port] == generation;

    /// <summary>Whether a UDP port, as bytes of a packet, is that of the tunnels known.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool IsVxlanPort(byte* udpPort) => Unsafe.ReadUnaligned<ushort>(udpPort) == _knownPort;

    /// <summary>Where the tunnel of a packet is kept, if it is known. By the last bytes of peer and VNI, which differ most often.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal KnownTunnel* Known(byte* ip, bool isIPv4, byte* udp) =>
        _known + ((uint)(ip[isIPv4 ? 15 : 23] ^ udp[VxlanHeader.UdpHeader + 6]) % KnownLimit);

    /// <summary>A place for a tunnel that was found for a packet. Of several UDP ports the last one is known.</summary>
    internal KnownTunnel* Note(int port, ulong generation, byte* ip, bool isIPv4, byte* udp)
    {
        _carries[port] = generation;
        _knownPort = Unsafe.ReadUnaligned<ushort>(udp + 2);
        return Known(ip, isIPv4, udp);
    }

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

    public void Dispose()
    {
        NativeMemory.AlignedFree(Burst);
        NativeMemory.AlignedFree(Segments);
        NativeMemory.AlignedFree(_known);
        NativeMemory.Free(_carries);
    }
}

/// <summary>What the headers of a tunnel's packets have in common, as bytes. Two cache lines.</summary>
[StructLayout(LayoutKind.Sequential, Size = 128)]
internal struct KnownTunnel
{
    /// <summary>From the first byte; the second one ends with an IPv4 packet's headers, the third with an IPv6 packet's.</summary>
    public Vector256<byte> First, Second, Third;
    public ulong Generation;
    /// <summary>Of the tunnel.</summary>
    public ushort Port;
    /// <summary>By which its packets come.</summary>
    public ushort Interface;
    public bool TakesZeroChecksum6;
}
