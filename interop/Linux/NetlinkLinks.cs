using System.Net.NetworkInformation;
using static Dataplane.Interop.Linux.NetlinkRequest;

namespace Dataplane.Interop.Linux;

/// <summary>A network device as the kernel describes it.</summary>
public sealed record LinkInfo
{
    /// <summary>1 and up, unique within the namespace. Moving a device keeps the number if it is free there.</summary>
    public required int Index { get; init; }

    public required string Name { get; init; }

    /// <summary>What made it: "tun", "veth", "bridge"; empty for hardware and the loopback.</summary>
    public string Kind { get; init; } = "";

    /// <summary>The IFF_ flags of netdevice(7).</summary>
    public uint Flags { get; init; }

    /// <summary>Bytes of an IP packet at most.</summary>
    public int Mtu { get; init; }

    /// <summary>The hardware address; empty when it has none.</summary>
    public PhysicalAddress Mac { get; init; } = PhysicalAddress.None;

    /// <summary>The bridge or bond that this device is a port of, or 0.</summary>
    public int Master { get; init; }

    /// <summary>The device underneath, or a veth's other end, or 0; an index that may belong to another namespace.</summary>
    public int Link { get; init; }

    /// <summary>It was brought up by an administrator (IFF_UP).</summary>
    public bool IsUp => (Flags & 0x1) != 0;

    /// <summary>It is up and has a carrier (IFF_LOWER_UP).</summary>
    public bool HasCarrier => (Flags & 0x10000) != 0;
}

public sealed partial class Netlink
{
    private const ushort IFLA_ADDRESS = 1;
    private const ushort IFLA_IFNAME = 3;
    private const ushort IFLA_MTU = 4;
    private const ushort IFLA_LINK = 5;
    private const ushort IFLA_MASTER = 10;
    private const ushort IFLA_LINKINFO = 18;
    private const ushort IFLA_NET_NS_FD = 28;
    private const ushort IFLA_INFO_KIND = 1;
    private const ushort IFLA_INFO_DATA = 2;
    private const ushort VETH_INFO_PEER = 1;
    private const uint IFF_UP = 1;

    /// <summary>All devices of the namespace.</summary>
    public IReadOnlyList<LinkInfo> ListLinks() => Dump<LinkInfo>(
        () => new NetlinkRequest(RTM_GETLINK, NLM_F_DUMP).Fixed(default(ifinfomsg)),
        "list links",
        static (links, type, body) =>
        {
            if (type == RTM_NEWLINK && ParseLink(body) is { } link)
                links.Add(link);
        });

    /// <summary>The device of that name, or null.</summary>
    public LinkInfo? FindLink(string name)
    {
        Tap.ValidateName(name);
        return FindLink(new NetlinkRequest(RTM_GETLINK, 0).Fixed(default(ifinfomsg)).String(IFLA_IFNAME, name), $"find link '{name}'");
    }

    /// <summary>The device of that index, or null.</summary>
    public LinkInfo? FindLink(int index) =>
        FindLink(new NetlinkRequest(RTM_GETLINK, 0).Fixed(new ifinfomsg { ifi_index = index }), $"find link {index}");

    /// <summary>The device of that name.</summary>
    /// <exception cref="LinuxException">ENODEV: there is none.</exception>
    public LinkInfo GetLink(string name) => FindLink(name) ?? throw new LinuxException(Errno.ENODEV, $"find link '{name}'");

    /// <summary>The device of that index.</summary>
    /// <exception cref="LinuxException">ENODEV: there is none.</exception>
    public LinkInfo GetLink(int index) => FindLink(index) ?? throw new LinuxException(Errno.ENODEV, $"find link {index}");

    /// <summary>ip link set DEV up</summary>
    public void SetUp(int index) => ChangeLink(index, link => $"bring up {link}", flags: IFF_UP, change: IFF_UP);

    /// <summary>ip link set DEV down</summary>
    public void SetDown(int index) => ChangeLink(index, link => $"take down {link}", change: IFF_UP);

    /// <summary>ip link set DEV mtu BYTES</summary>
    public void SetMtu(int index, int bytes) =>
        ChangeLink(index, link => $"set MTU {bytes} of {link}", r => r.UInt32(IFLA_MTU, (uint)bytes));

    /// <summary>ip link set DEV address MAC</summary>
    public void SetMac(int index, PhysicalAddress mac) =>
        ChangeLink(index, link => $"set MAC address {mac} of {link}", r => r.Bytes(IFLA_ADDRESS, mac.GetAddressBytes()));

    /// <summary>ip link set DEV name NAME</summary>
    /// <exception cref="LinuxException">EEXIST: the name is taken. EBUSY: the device is up, on kernels before 6.2.</exception>
    public void Rename(int index, string name)
    {
        Tap.ValidateName(name);
        ChangeLink(index, link => $"rename {link} to '{name}'", r => r.String(IFLA_IFNAME, name));
    }

    /// <summary>ip link set DEV master BRIDGE, or nomaster when that is 0.</summary>
    public void SetMaster(int index, int master) =>
        ChangeLink(index, link => $"set master {master} of {link}", r => r.UInt32(IFLA_MASTER, (uint)master));

    /// <summary>
    /// Moves a device to another namespace, and renames it on the way, so that "eth0" need not be free here. It arrives
    /// down and without addresses; its index there may be another one.
    /// </summary>
    /// <exception cref="LinuxException">EEXIST: the name is taken there. EINVAL: devices of this kind cannot be
    /// moved.</exception>
    public void MoveTo(int index, NetNs ns, string? name = null)
    {
        if (name is not null)
            Tap.ValidateName(name);
        ChangeLink(index, link => $"move {link} to network namespace {ns}{(name is null ? "" : $" as '{name}'")}", r =>
        {
            r.UInt32(IFLA_NET_NS_FD, (uint)ns.Handle.Value);
            if (name is not null)
                r.String(IFLA_IFNAME, name);
        });
    }

    /// <summary>ip link delete DEV; deletes a veth's other end, too.</summary>
    /// <exception cref="LinuxException">ENODEV: it is gone already. EOPNOTSUPP: hardware, or the loopback.</exception>
    public void DeleteLink(int index) =>
        Request(new NetlinkRequest(RTM_DELLINK, 0).Fixed(new ifinfomsg { ifi_index = index }), () => $"delete {Describe(index)}");

    /// <summary>ip link add NAME type veth peer name PEER; the peer is made in its namespace at once, if one is given.</summary>
    public void CreateVeth(string name, string peer, NetNs? peerNs = null)
    {
        Tap.ValidateName(peer);
        CreateLink(name, "veth", data => data.Nest(VETH_INFO_PEER, r =>
        {
            r.Fixed(default(ifinfomsg)).String(IFLA_IFNAME, peer);
            if (peerNs is not null)
                r.UInt32(IFLA_NET_NS_FD, (uint)peerNs.Handle.Value);
        }));
    }

    /// <summary>ip link add NAME type bridge</summary>
    public void CreateBridge(string name) => CreateLink(name, "bridge");

    internal static LinkInfo? ParseLink(ReadOnlySpan<byte> body)
    {
        // Bridges report their ports with family AF_BRIDGE; those messages are not about the device itself.
        if (!Split(body, out ifinfomsg info, out NetlinkAttributes attributes) || info.ifi_family != AF_UNSPEC)
            return null;
        string name = "";
        string kind = "";
        int mtu = 0;
        int master = 0;
        int link = 0;
        PhysicalAddress mac = PhysicalAddress.None;
        while (attributes.Next())
        {
            switch (attributes.Type)
            {
                case IFLA_IFNAME:
                    name = attributes.String;
                    break;
                case IFLA_MTU:
                    mtu = (int)attributes.UInt32;
                    break;
                case IFLA_MASTER:
                    master = (int)attributes.UInt32;
                    break;
                case IFLA_LINK:
                    link = (int)attributes.UInt32;
                    break;
                case IFLA_ADDRESS:
                    mac = new PhysicalAddress(attributes.Value.ToArray());
                    break;
                case IFLA_LINKINFO:
                    var inner = new NetlinkAttributes(attributes.Value);
                    while (inner.Next())
                    {
                        if (inner.Type == IFLA_INFO_KIND)
                            kind = inner.String;
                    }
                    break;
            }
        }
        return new LinkInfo
        {
            Index = info.ifi_index,
            Name = name,
            Kind = kind,
            Flags = info.ifi_flags,
            Mtu = mtu,
            Mac = mac,
            Master = master,
            Link = link,
        };
    }

    private LinkInfo? FindLink(NetlinkRequest request, string what)
    {
        LinkInfo? found = null;
        try
        {
            Request(request, () => what, (type, body) => found = type == RTM_NEWLINK ? ParseLink(body) : found);
        }
        catch (LinuxException e) when (e.Errno == Errno.ENODEV)
        {
        }
        return found;
    }

    private void CreateLink(string name, string kind, Action<NetlinkRequest>? data = null)
    {
        Tap.ValidateName(name);
        NetlinkRequest request = new NetlinkRequest(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL)
            .Fixed(default(ifinfomsg))
            .String(IFLA_IFNAME, name)
            .Nest(IFLA_LINKINFO, r =>
            {
                r.String(IFLA_INFO_KIND, kind);
                if (data is not null)
                    r.Nest(IFLA_INFO_DATA, data);
            });
        string what = $"create {kind} link '{name}'";
        try
        {
            Request(request, () => what);
        }
        catch (LinuxException e) when (e.Errno == Errno.EOPNOTSUPP)
        {
            throw new LinuxException(e.Errno, what, $"The kernel has no driver for it; try 'modprobe {kind}'.", e);
        }
    }

    private void ChangeLink(
        int index, Func<string, string> what, Action<NetlinkRequest>? attributes = null, uint flags = 0, uint change = 0)
    {
        var request = new NetlinkRequest(RTM_SETLINK, 0);
        request.Fixed(new ifinfomsg { ifi_index = index, ifi_flags = flags, ifi_change = change });
        attributes?.Invoke(request);
        Request(request, () => what(Describe(index)));
    }

    /// <summary>A link for an error text, by name if it still has one.</summary>
    private string Describe(int index)
    {
        try
        {
            return FindLink(index) is { } link ? $"link '{link.Name}'" : $"link {index}";
        }
        catch (LinuxException)
        {
            return $"link {index}";
        }
    }
}
