using System.Net;
using System.Net.Sockets;
using static Dataplane.Interop.Linux.NetlinkRequest;

namespace Dataplane.Interop.Linux;

/// <summary>An IP address of a device, with the length of its subnet's prefix in bits.</summary>
public sealed record AddressInfo(int Index, IPAddress Address, int PrefixLength)
{
    /// <summary>The IFA_F_ flags of linux/if_addr.h: 0x40 while duplicate address detection runs, 0x80 permanent.</summary>
    public uint Flags { get; init; }

    /// <summary>How far it is valid: 0 everywhere, 253 on this link, 254 on this host.</summary>
    public byte Scope { get; init; }
}

public sealed partial class Netlink
{
    private const ushort IFA_ADDRESS = 1;
    private const ushort IFA_LOCAL = 2;
    private const ushort IFA_BROADCAST = 4;
    private const ushort IFA_FLAGS = 8;
    private const uint IFA_F_NODAD = 0x02;

    /// <summary>Addresses of one device, or of all when <paramref name="index"/> is 0.</summary>
    public IReadOnlyList<AddressInfo> ListAddresses(int index = 0, AddressFamily family = AddressFamily.Unspecified) =>
        Dump<AddressInfo>(
            () => new NetlinkRequest(RTM_GETADDR, NLM_F_DUMP).Fixed(new ifaddrmsg { ifa_family = FamilyOf(family) }),
            "list addresses",
            (addresses, type, body) =>
            {
                if (type == RTM_NEWADDR && ParseAddress(body) is { } address && (index == 0 || address.Index == index))
                    addresses.Add(address);
            });

    /// <summary>
    /// ip address add ADDRESS/LENGTH dev DEV, with the subnet's broadcast address for IPv4. The kernel adds a route to the
    /// subnet when the device is up.
    /// </summary>
    /// <param name="index">The device.</param>
    /// <param name="address">IPv4 or IPv6.</param>
    /// <param name="prefixLength">In bits.</param>
    /// <param name="skipDuplicateDetection">IPv6: usable at once, instead of about a second later. For addresses that
    /// someone hands out and that are known to be unique.</param>
    /// <exception cref="LinuxException">EEXIST: the device has it already. EACCES: IPv6 is switched off there.</exception>
    public void AddAddress(int index, IPAddress address, int prefixLength, bool skipDuplicateDetection = false)
    {
        NetlinkRequest request = AddressRequest(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, prefixLength);
        // The broadcast address of a /31 or /32 does not exist (RFC 3021).
        if (address.AddressFamily == AddressFamily.InterNetwork && prefixLength < 31)
        {
            byte[] bytes = address.GetAddressBytes();
            for (int bit = prefixLength; bit < 32; bit++)
                bytes[bit / 8] |= (byte)(0x80 >> (bit % 8));
            request.Bytes(IFA_BROADCAST, bytes);
        }
        if (address.AddressFamily == AddressFamily.InterNetworkV6 && skipDuplicateDetection)
            request.UInt32(IFA_FLAGS, IFA_F_NODAD);
        Request(request, () => $"add address {address}/{prefixLength} to {Describe(index)}");
    }

    /// <summary>ip address delete ADDRESS/LENGTH dev DEV</summary>
    /// <exception cref="LinuxException">EADDRNOTAVAIL: the device does not have it.</exception>
    public void DeleteAddress(int index, IPAddress address, int prefixLength) => Request(
        AddressRequest(RTM_DELADDR, 0, index, address, prefixLength),
        () => $"delete address {address}/{prefixLength} of {Describe(index)}");

    private static NetlinkRequest AddressRequest(ushort type, ushort flags, int index, IPAddress address, int prefixLength)
    {
        byte[] bytes = address.GetAddressBytes();
        if (prefixLength < 0 || prefixLength > bytes.Length * 8)
            throw new ArgumentOutOfRangeException(nameof(prefixLength), prefixLength, $"not a prefix length of {address}");
        var part = new ifaddrmsg { ifa_family = FamilyOf(address), ifa_prefixlen = (byte)prefixLength, ifa_index = index };
        return new NetlinkRequest(type, flags).Fixed(part).Bytes(IFA_LOCAL, bytes).Bytes(IFA_ADDRESS, bytes);
    }

    private static AddressInfo? ParseAddress(ReadOnlySpan<byte> body)
    {
        if (!Split(body, out ifaddrmsg info, out NetlinkAttributes attributes))
            return null;
        IPAddress? address = null;
        IPAddress? local = null;
        uint flags = info.ifa_flags;
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case IFA_ADDRESS:
                    address = AddressOf(attributes.Value);
                    break;
                case IFA_LOCAL:
                    local = AddressOf(attributes.Value);
                    break;
                case IFA_FLAGS:
                    flags = attributes.UInt32;
                    break;
            }
        }
        // On a point-to-point device IFA_ADDRESS is the peer's; IPv6 has no IFA_LOCAL otherwise.
        return (local ?? address) is { } own
            ? new AddressInfo(info.ifa_index, own, info.ifa_prefixlen) { Flags = flags, Scope = info.ifa_scope }
            : null;
    }
}
