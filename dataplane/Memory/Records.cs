using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Memory;

/// <summary>Settings of a port, as bits of <see cref="PortRecord.Flags"/>.</summary>
[Flags]
public enum PortFlags : uint
{
    None = 0,
    /// <summary>The record describes a port.</summary>
    Exists = 1 << 0,
    /// <summary>The administrator lets packets in and out.</summary>
    Enabled = 1 << 1,
    /// <summary>Source addresses are learned.</summary>
    Learning = 1 << 2,
    /// <summary>Exchanges packets only with ports that are not isolated.</summary>
    Isolated = 1 << 3,
    /// <summary>A packet may leave by the port it came from.</summary>
    Hairpin = 1 << 4,
    FloodUnicast = 1 << 5,
    FloodMulticast = 1 << 6,
    FloodBroadcast = 1 << 7,
    /// <summary>A bridge protocol data unit from this port disables it.</summary>
    BpduGuard = 1 << 8,
    /// <summary>The host's own port: the only one whose packets may carry the bridge's own address as source.</summary>
    Host = 1 << 9,
    /// <summary>Tagged frames are accepted (IEEE 802.1Q trunk); without it, an access port.</summary>
    Trunk = 1 << 10,
    /// <summary>Untagged frames are accepted and belong to <see cref="PortRecord.Pvid"/>.</summary>
    AcceptUntagged = 1 << 11,
    /// <summary>No device but the bridge's router: what is sent to it is routed. It has an <see cref="InterfaceRecord"/>.</summary>
    Router = 1 << 12,
    /// <summary>A device port that belongs to no bridge: its packets are routed. It has an <see cref="InterfaceRecord"/>.</summary>
    Routed = 1 << 13,
    /// <summary>No device but a remote VXLAN tunnel end point. It has a <see cref="TunnelRecord"/>.</summary>
    Tunnel = 1 << 14,
    /// <summary>What comes from the port is limited: see <see cref="PortRecord.PolicePackets"/>.</summary>
    Policed = 1 << 15,

    /// <summary>What a port has unless asked otherwise.</summary>
    Default = Exists | Enabled | Learning | FloodUnicast | FloodMulticast | FloodBroadcast | AcceptUntagged,
}

/// <summary>4,096 bits, one per VLAN identifier.</summary>
[InlineArray(64)]
public struct VlanSet
{
    private ulong _first;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Contains(ref readonly VlanSet set, int vid) =>
        ((Unsafe.Add(ref Unsafe.As<VlanSet, ulong>(ref Unsafe.AsRef(in set)), (vid >> 6) & 63) >> (vid & 63)) & 1) != 0;

    public static void Add(ref VlanSet set, int vid) => set[vid >> 6] |= 1ul << (vid & 63);
}

/// <summary>What the control plane says of a port; see <see cref="Versioned{T}"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct PortRecord
{
    public PortFlags Flags;
    /// <summary>Index of the bridge the port belongs to, 0 for none.</summary>
    public ushort Bridge;
    /// <summary>VLAN of untagged frames, 1 to 4,094; 0 on a bridge that does not look at VLANs.</summary>
    public ushort Pvid;
    /// <summary>Largest layer-3 packet in bytes (Ethernet and VLAN headers not counted).</summary>
    public ushort Mtu;
    public ushort Reserved;
    /// <summary>Addresses that may be learned on the port, 0 for no limit.</summary>
    public uint LearnLimit;
    /// <summary>Flooded packets per second that the port may send into the bridge, 0 for no limit.</summary>
    public uint StormRate;
    /// <summary>Depth of the token bucket, in packets.</summary>
    public uint StormBurst;
    /// <summary>Packets per second that the port may send into the switch, 0 for no limit. With <see cref="PortFlags.Policed"/>.</summary>
    public uint PolicePackets;
    /// <summary>Depth of that bucket, in packets.</summary>
    public uint PolicePacketBurst;
    /// <summary>Bytes per second that the port may send into the switch, 0 for no limit.</summary>
    public ulong PoliceBytes;
    /// <summary>Depth of that bucket, in bytes.</summary>
    public uint PoliceByteBurst;
    public uint Reserved2;
    /// <summary>VLANs whose frames may enter and leave; <see cref="Pvid"/> leaves untagged, the others tagged.</summary>
    public VlanSet Vlans;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly bool Has(PortFlags flags) => (Flags & flags) == flags;
}

[Flags]
public enum BridgeFlags : uint
{
    None = 0,
    Exists = 1 << 0,
    /// <summary>IEEE 802.1Q: frames are classified by VLAN. Without it tags pass as payload.</summary>
    VlanAware = 1 << 1,
}

/// <summary>Up to 1,024 ports, one bit each.</summary>
[InlineArray(SegmentOptions.PortLimit / 64)]
public struct PortSet
{
    private ulong _first;

    public static bool Contains(ref readonly PortSet set, int port) => ((set[port >> 6] >> (port & 63)) & 1) != 0;
    public static void Add(ref PortSet set, int port) => set[port >> 6] |= 1ul << (port & 63);
    public static void Remove(ref PortSet set, int port) => set[port >> 6] &= ~(1ul << (port & 63));
}

/// <summary>What the control plane says of a bridge; see <see cref="Versioned{T}"/>.</summary>
[StructLayout(LayoutKind.Sequential)]
public struct BridgeRecord
{
    public BridgeFlags Flags;
    /// <summary>Filtering identifier of VLAN 0 (IEEE 802.1Q, 8.8.8). The FID of a frame is FidBase + (VLAN and FidMask).</summary>
    public ushort FidBase;
    /// <summary>0xFFF on a VLAN-aware bridge (FidBase is a multiple of 4,096), else 0.</summary>
    public ushort FidMask;
    /// <summary>Seconds after which an address not seen is forgotten, 0 for never.</summary>
    public uint AgeingSeconds;
    /// <summary>Addresses that may be learned on the bridge, 0 for no limit.</summary>
    public uint LearnLimit;
    /// <summary>The bridge's own address as a number whose lowest byte is the first on the wire; 0 for none.</summary>
    public ulong Mac;
    /// <summary>Index of the bridge's router port, 0 when the bridge has none.</summary>
    public ushort RouterPort;
    /// <summary>Index of the host's port, 0 when the bridge has none.</summary>
    public ushort HostPort;
    public uint Reserved;
    public PortSet Members;
}

/// <summary>The state of a port that the engine finds out.</summary>
public enum PortState : uint
{
    /// <summary>No device is attached.</summary>
    Detached,
    /// <summary>Attached and forwarding.</summary>
    Up,
    /// <summary>The device went away under the port (TAP deleted, namespace gone).</summary>
    Lost,
    /// <summary>Disabled by the switch itself (BPDU guard) until the administrator enables it again.</summary>
    ErrDisabled,
}

/// <summary>Run-time state of a port. Written by any worker, rarely, with atomic instructions.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
public struct PortRuntime
{
    [FieldOffset(0)] public PortState State;
    /// <summary>Addresses learned on the port now.</summary>
    [FieldOffset(4)] public int Learned;
    /// <summary>errno that made the port <see cref="PortState.Lost"/>.</summary>
    [FieldOffset(8)] public int Error;
    /// <summary>Address of the device, lowest byte first on the wire.</summary>
    [FieldOffset(16)] public ulong Mac;
    /// <summary>Addresses not learned because a limit was reached, since the start.</summary>
    [FieldOffset(24)] public ulong LearnLimited;
    /// <summary>Addresses that came to this port from another one.</summary>
    [FieldOffset(32)] public ulong Moves;
    /// <summary>Addresses found to flap between this port and another one.</summary>
    [FieldOffset(40)] public ulong Flaps;
    /// <summary>Addresses not learned because their buckets were full.</summary>
    [FieldOffset(48)] public ulong TableFull;
}

/// <summary>Run-time state of a bridge. Written by any worker, rarely, with atomic instructions.</summary>
[StructLayout(LayoutKind.Explicit, Size = 64)]
public struct BridgeRuntime
{
    /// <summary>Addresses learned on the bridge now.</summary>
    [FieldOffset(0)] public int Learned;
    /// <summary>Addresses not learned because the bridge's limit was reached.</summary>
    [FieldOffset(8)] public ulong LearnLimited;
    /// <summary>Addresses forgotten for their age.</summary>
    [FieldOffset(16)] public ulong Aged;
}
