using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.Tables;

/// <summary>What a service is looked up by: VRF, protocol, address and port. All in host order.</summary>
/// <param name="Place">VRF, family, protocol and port.</param>
/// <param name="Address">An IPv4 address is in Low.</param>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct FrontendKey(ulong Place, IPv6Number Address)
{
    private const int ProtocolShift = 16, FamilyShift = 24, VrfShift = 32;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FrontendKey Of4(ushort vrf, byte protocol, uint address, ushort port) =>
        new(((ulong)vrf << VrfShift) | ((ulong)protocol << ProtocolShift) | port, new IPv6Number(0, address));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static FrontendKey Of6(ushort vrf, byte protocol, IPv6Number address, ushort port) =>
        new(((ulong)vrf << VrfShift) | (1ul << FamilyShift) | ((ulong)protocol << ProtocolShift) | port, address);

    public static FrontendKey Of(ushort vrf, byte protocol, bool isIPv6, IPv6Number address, ushort port) =>
        isIPv6 ? Of6(vrf, protocol, address, port) : Of4(vrf, protocol, (uint)address.Low, port);

    /// <summary>Of an address as such: <see cref="FrontendFlags.Address"/>. Protocol 0 is nobody's (IPv6 hop-by-hop options).</summary>
    public static FrontendKey OfAddress(ushort vrf, bool isIPv6, IPv6Number address) => Of(vrf, 0, isIPv6, address, 0);

    public ushort Vrf => (ushort)(Place >> VrfShift);
    public byte Protocol => (byte)(Place >> ProtocolShift);
    public bool IsIPv6 => (Place & (1ul << FamilyShift)) != 0;
    public ushort Port => (ushort)Place;

    /// <summary>Whether it is that of an address and not of one of its ports.</summary>
    public bool IsAddress => Protocol == 0;
}
