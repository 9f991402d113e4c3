using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using static Dataplane.Interop.Linux.NetlinkRequest;

namespace Dataplane.Interop.Linux;

/// <summary>The kernel's NUD_ states of a neighbour, named as RFC 4861 (section 7.3.2) names them, and its own ones.</summary>
[Flags]
public enum NeighbourStates : ushort
{
    None = 0,
    Incomplete = 0x01,
    Reachable = 0x02,
    Stale = 0x04,
    Delay = 0x08,
    Probe = 0x10,
    Failed = 0x20,

    /// <summary>The device resolves no addresses.</summary>
    NoArp = 0x40,

    /// <summary>Set by an administrator; never times out.</summary>
    Permanent = 0x80,
}

/// <summary>An entry of the ARP or neighbour discovery cache. Mac is empty while it is not known.</summary>
public sealed record NeighbourInfo(int Index, IPAddress Address, PhysicalAddress Mac, NeighbourStates State);

public sealed partial class Netlink
{
    private const ushort NDA_DST = 1;
    private const ushort NDA_LLADDR = 2;

    /// <summary>The neighbours on one device, or on all when <paramref name="index"/> is 0.</summary>
    public IReadOnlyList<NeighbourInfo> ListNeighbours(int index = 0, AddressFamily family = AddressFamily.Unspecified) =>
        Dump<NeighbourInfo>(
            () => new NetlinkRequest(RTM_GETNEIGH, NLM_F_DUMP).Fixed(new ndmsg { ndm_family = FamilyOf(family) }),
            "list neighbours",
            (neighbours, type, body) =>
            {
                if (type == RTM_NEWNEIGH && ParseNeighbour(body) is { } neighbour && (index == 0 || neighbour.Index == index))
                    neighbours.Add(neighbour);
            });

    /// <summary>ip neighbour replace ADDRESS lladdr MAC dev DEV nud permanent</summary>
    public void SetNeighbour(int index, IPAddress address, PhysicalAddress mac) => Request(
        NeighbourRequest(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, index, address, NeighbourStates.Permanent)
            .Bytes(NDA_LLADDR, mac.GetAddressBytes()),
        () => $"set neighbour {address} to {mac} on {Describe(index)}");

    /// <summary>ip neighbour delete ADDRESS dev DEV</summary>
    /// <exception cref="LinuxException">ENOENT: there is no such neighbour.</exception>
    public void DeleteNeighbour(int index, IPAddress address) => Request(
        NeighbourRequest(RTM_DELNEIGH, 0, index, address, NeighbourStates.None),
        () => $"delete neighbour {address} on {Describe(index)}");

    private static NetlinkRequest NeighbourRequest(ushort type, ushort flags, int index, IPAddress address, NeighbourStates state) =>
        new NetlinkRequest(type, flags)
            .Fixed(new ndmsg { ndm_family = FamilyOf(address), ndm_ifindex = index, ndm_state = (ushort)state })
            .Bytes(NDA_DST, address.GetAddressBytes());

    private static NeighbourInfo? ParseNeighbour(ReadOnlySpan<byte> body)
    {
        if (!Split(body, out ndmsg info, out NetlinkAttributes attributes) || info.ndm_family is not (AF_INET or AF_INET6))
            return null;
        IPAddress? address = null;
        PhysicalAddress mac = PhysicalAddress.None;
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case NDA_DST:
                    address = AddressOf(attributes.Value);
                    break;
                case NDA_LLADDR:
                    mac = new PhysicalAddress(attributes.Value.ToArray());
                    break;
            }
        }
        return address is null ? null : new NeighbourInfo(info.ndm_ifindex, address, mac, (NeighbourStates)info.ndm_state);
    }
}
