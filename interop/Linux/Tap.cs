using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Linux;

/// <summary>What the reader of a TAP takes over from the kernel; the TUN_F_ flags of linux/if_tun.h.</summary>
[Flags]
public enum TapOffloads : uint
{
    None = 0,

    /// <summary>Frames may carry partial checksums. All others need this one.</summary>
    Checksum = 0x01,

    /// <summary>TCP segments of up to 64 KiB over IPv4.</summary>
    Tso4 = 0x02,

    /// <summary>TCP segments of up to 64 KiB over IPv6.</summary>
    Tso6 = 0x04,

    /// <summary>Such segments may carry CWR. Needs Tso4 or Tso6.</summary>
    TsoEcn = 0x08,

    /// <summary>Runs of UDP datagrams over IPv4. Since Linux 6.2, and only together with Uso6.</summary>
    Uso4 = 0x20,

    /// <summary>Runs of UDP datagrams over IPv6. Since Linux 6.2, and only together with Uso4.</summary>
    Uso6 = 0x40,

    All = Checksum | Tso4 | Tso6 | TsoEcn | Uso4 | Uso6,
}

/// <summary>
/// An Ethernet device whose other end is this process; tun(4) with <c>IFF_TAP | IFF_NO_PI | IFF_VNET_HDR |
/// IFF_MULTI_QUEUE</c>. One file descriptor per queue: each read gives one frame and each write takes one, both with a
/// 12-byte little-endian <see cref="virtio_net_hdr"/> in front. Descriptors are non-blocking and close-on-exec.
/// </summary>
/// <remarks>
/// <para>The device exists while a descriptor of it is open, in any process.</para>
/// <para>The kernel spreads flows over the queues by their hash, until it has seen a frame of the flow written to a queue:
/// from the next frame on, that queue gets the replies. It forgets this after 3 seconds without frames.</para>
/// <para>For a container, create the device where you are and move it with <see cref="Netlink"/>. A descriptor that was
/// opened inside a namespace keeps the namespace alive, so a container's would outlive the container; a device that was
/// moved there goes away with it.</para>
/// <para>When the device goes away under its descriptors, read and write fail with EBADFD ("File descriptor in bad state")
/// and epoll reports <see cref="EpollEvents.Error"/>, but it wakes for that only those that wait for
/// <see cref="EpollEvents.In"/>. A process that holds descriptors without reading them asks <see cref="IsAlive"/> from time
/// to time instead: an epoll of its own would be woken by every frame. While the device is down, write fails with EIO and
/// read has nothing (EAGAIN).</para>
/// <para>Closing a device is slow, some tens of milliseconds: the kernel waits for an RCU grace period.</para>
/// </remarks>
public sealed unsafe partial class Tap : IDisposable
{
    /// <summary>The longest name of a device (IFNAMSIZ - 1), in bytes.</summary>
    public const int MaxNameLength = 15;

    /// <summary>The most queues of one device (MAX_TAP_QUEUES).</summary>
    public const int MaxQueues = 256;

    internal const nuint TUNSETIFF = 0x400454ca;
    internal const nuint TUNSETPERSIST = 0x400454cb;
    internal const nuint TUNSETOFFLOAD = 0x400454d0;
    internal const nuint TUNGETIFF = 0x800454d2;
    internal const nuint TUNGETVNETHDRSZ = 0x800454d7;
    internal const nuint TUNSETVNETHDRSZ = 0x400454d8;
    internal const nuint TUNSETQUEUE = 0x400454d9;
    internal const nuint TUNSETVNETLE = 0x400454dc;
    internal const nuint TUNSETCARRIER = 0x400454e2;
    internal const nuint TUNGETDEVNETNS = 0x54e3;

    internal const ushort IFF_TAP = 0x0002;
    internal const ushort IFF_MULTI_QUEUE = 0x0100;
    internal const ushort IFF_ATTACH_QUEUE = 0x0200;
    internal const ushort IFF_DETACH_QUEUE = 0x0400;
    internal const ushort IFF_NO_PI = 0x1000;
    internal const ushort IFF_VNET_HDR = 0x4000;
    internal const ushort IFF_TUN_EXCL = 0x8000;

    private const ushort Flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_MULTI_QUEUE;
    private const string DevicePath = "/dev/net/tun";

    private readonly List<FileDescriptor> _queues = [];

    private Tap(string name)
    {
        Name = name;
    }

    /// <summary>The device's name when this object was made; see <see cref="ReadName"/> for the present one.</summary>
    public string Name { get; private set; }

    /// <summary>What the kernel agreed to hand over.</summary>
    public TapOffloads Offloads { get; private set; }

    public int QueueCount => _queues.Count;

    /// <summary>Makes a new device.</summary>
    /// <param name="name">Its name, or a pattern like "dp%d" whose number the kernel chooses.</param>
    /// <param name="queues">How many, 1 to <see cref="MaxQueues"/>; more can be attached later.</param>
    /// <param name="ns">The namespace to make it in, or null for the calling thread's. Not for containers; see above.</param>
    /// <param name="offloads">What this process is ready to take over. What the kernel does not know is left out.</param>
    /// <exception cref="LinuxException">EPERM: needs CAP_NET_ADMIN. EBUSY: the name is taken. ENOENT or ENODEV: the
    /// kernel has no tun module, or the container no /dev/net/tun.</exception>
    /// <exception cref="ArgumentException">A name the kernel would refuse.</exception>
    public static Tap Create(string name, int queues = 1, NetNs? ns = null, TapOffloads offloads = TapOffloads.All) =>
        In(ns, () => Open(name, queues, IFF_TUN_EXCL, offloads));

    /// <summary>
    /// Opens further queues of a device that exists already, persistent or held open by another process. Its offloads are
    /// set anew, and it stops being persistent.
    /// </summary>
    /// <exception cref="LinuxException">ENODEV: there is no such device. EINVAL: it is not a multi-queue TAP with a vnet
    /// header. EBUSY: another process has it and it is single-queue. E2BIG: no more queues. EPERM: needs
    /// CAP_NET_ADMIN.</exception>
    public static Tap Attach(string name, int queues = 1, NetNs? ns = null, TapOffloads offloads = TapOffloads.All)
    {
        ValidateName(name, allowPattern: false);
        return In(ns, () =>
        {
            // TUNSETIFF creates what it does not find, and there is no flag against that. A device that vanishes between
            // these two lines is made anew, empty: the caller sees a TAP without carrier, addresses and peers.
            if (if_nametoindex(name) == 0)
                throw LinuxException.Last($"attach to TAP device '{name}'");
            return Open(name, queues, 0, offloads);
        });
    }

    /// <summary>
    /// Takes over descriptors of one device, as received from another process. They must come from this class: the same
    /// flags and header are assumed, and the offloads are those the creator reported.
    /// </summary>
    /// <exception cref="LinuxException">EBADFD: a descriptor's device is gone. ENOTTY, EINVAL: not a TAP, or not of this
    /// kind. The descriptors stay with the caller then.</exception>
    public static Tap Adopt(ReadOnlySpan<int> fds, TapOffloads offloads)
    {
        ArgumentOutOfRangeException.ThrowIfZero(fds.Length, nameof(fds));
        var tap = new Tap("");
        try
        {
            foreach (int fd in fds)
            {
                tap._queues.Add(new FileDescriptor(fd));
                ifreq request = tap.GetInterface(tap._queues[^1], $"adopt TAP descriptor {fd}");
                string name = request.Name;
                int size;
                tap.Control(tap._queues[^1], TUNGETVNETHDRSZ, &size, $"adopt TAP descriptor {fd} of '{name}'");
                if ((request.ifr_flags & Flags) != Flags || size != virtio_net_hdr.Size)
                    throw new LinuxException(Errno.EINVAL, $"adopt TAP descriptor {fd} of '{name}'",
                        $"Its flags are 0x{request.ifr_flags:x} and its vnet header has {size} bytes; expected 0x{Flags:x} and {virtio_net_hdr.Size}.");
                if (tap.Name.Length > 0 && tap.Name != name)
                    throw new LinuxException(Errno.EINVAL, $"adopt TAP descriptor {fd}", $"It belongs to '{name}', the others to '{tap.Name}'.");
                tap.Name = name;
            }
        }
        catch
        {
            tap.DetachFds();
            throw;
        }
        tap.Offloads = offloads;
        return tap;
    }

    /// <summary>The descriptor of a queue. It stays this object's, which must be kept alive while the number is in use.</summary>
    public int Fd(int queue) => _queues[queue].Value;

    /// <summary>The device exists, here or wherever it was moved to.</summary>
    public bool IsAlive
    {
        get
        {
            var one = new pollfd { fd = Fd(0) };
            return Libc.poll(&one, 1, 0) == 0 || (one.revents & pollfd.POLLERR) == 0;
        }
    }

    /// <summary>
    /// Attaches further queues to this device, wherever it has been moved and whatever it is called by now. Queues of a
    /// device that was moved to a container keep its namespace alive; those that were made before the move do not. Where
    /// the number of readers can grow, make enough queues at first and see <see cref="SetQueueActive"/>.
    /// </summary>
    /// <exception cref="LinuxException">EBADFD: the device is gone. E2BIG: more than <see cref="MaxQueues"/>.</exception>
    public void AddQueues(int count)
    {
        int fd = Libc.ioctl(_queues[0], TUNGETDEVNETNS, null);
        if (fd < 0)
            throw Failure(Marshal.GetLastPInvokeError(), $"find the network namespace of TAP device '{Name}'");
        using NetNs ns = NetNs.Adopt(new FileDescriptor(fd));
        string name = ReadName();
        // A device is looked up in the namespace that the descriptor was opened in. Entering it needs a thread, and
        // keeps the namespace alive (see above), so it is done only for a device that is elsewhere.
        using NetNs here = NetNs.Current();
        _queues.AddRange(In(here.IsSameAs(ns) ? null : ns, () => OpenQueues(name, count, Flags)));
    }

    /// <summary>
    /// Takes a queue out of service while it has no reader, so that the kernel sends nothing there, or puts it back. Frames
    /// that wait in it are dropped; meanwhile reads find nothing (EAGAIN). The first queue is always in service.
    /// </summary>
    public void SetQueueActive(int queue, bool active)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(queue, 1);
        var request = new ifreq { ifr_flags = active ? IFF_ATTACH_QUEUE : IFF_DETACH_QUEUE };
        // EINVAL says that it is so already.
        if (Libc.ioctl(_queues[queue], TUNSETQUEUE, &request) < 0 && Marshal.GetLastPInvokeError() is not Errno.EINVAL and int errno)
            throw Failure(errno, $"turn queue {queue} of TAP device '{Name}' {(active ? "on" : "off")}");
    }

    /// <summary>The device's present name.</summary>
    /// <exception cref="LinuxException">EBADFD: the device is gone.</exception>
    public string ReadName() => GetInterface(_queues[0], $"read the name of TAP device '{Name}'").Name;

    /// <summary>
    /// Tells the kernel whether a cable is plugged in: without, the device's state is NO-CARRIER and nothing is sent. It
    /// is on after creation.
    /// </summary>
    public void SetCarrier(bool on)
    {
        int value = on ? 1 : 0;
        Control(_queues[0], TUNSETCARRIER, &value, $"set the carrier of TAP device '{Name}'");
    }

    /// <summary>
    /// Gives the descriptors away, in queue order: the caller closes them from now on, and this object has none left. (A
    /// descriptor that is sent to another process is a copy, and needs no detaching.)
    /// </summary>
    public int[] DetachFds()
    {
        int[] fds = [.. _queues.Select(q => q.Detach())];
        _queues.Clear();
        return fds;
    }

    /// <summary>Closes the descriptors; with the last one anywhere the device goes away.</summary>
    public void Dispose()
    {
        foreach (FileDescriptor queue in _queues)
            queue.Dispose();
        _queues.Clear();
    }

    /// <summary>Checks a device name as the kernel does: 1 to 15 bytes, no '/', ':' or white space, not "." or "..".</summary>
    /// <exception cref="ArgumentException">What is wrong with it.</exception>
    public static void ValidateName(string name, bool allowPattern = false)
    {
        string? problem = name switch
        {
            "" => "is empty",
            "." or ".." => "is reserved",
            _ when Encoding.UTF8.GetByteCount(name) > MaxNameLength => $"is longer than {MaxNameLength} bytes",
            _ when name.Any(c => c is '/' or ':' or '\0' || char.IsWhiteSpace(c)) => "contains '/', ':' or white space",
            _ when name.Contains('%') && !(allowPattern && name.Split('%') is [_, ['d', ..]]) => "contains '%'",
            _ => null,
        };
        if (problem is not null)
            throw new ArgumentException($"the device name '{name}' {problem}", nameof(name));
    }

    private static T In<T>(NetNs? ns, Func<T> action) => ns is null ? action() : ns.Run(action);

    private static Tap Open(string name, int queues, ushort extraFlags, TapOffloads offloads)
    {
        ValidateName(name, allowPattern: true);
        ArgumentOutOfRangeException.ThrowIfLessThan(queues, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(queues, MaxQueues);
        var tap = new Tap(name);
        try
        {
            tap._queues.AddRange(OpenQueues(name, 1, (ushort)(Flags | extraFlags)));
            tap.Name = tap.ReadName();
            tap.Configure(offloads);
            tap._queues.AddRange(OpenQueues(tap.Name, queues - 1, Flags));
            return tap;
        }
        catch
        {
            tap.Dispose();
            throw;
        }
    }

    private static List<FileDescriptor> OpenQueues(string name, int count, ushort flags)
    {
        var opened = new List<FileDescriptor>(count);
        try
        {
            for (int i = 0; i < count; i++)
            {
                string what = $"open TAP device '{name}'";
                FileDescriptor fd = Libc.Open(DevicePath, Libc.O_RDWR | Libc.O_NONBLOCK, $"{what}: open {DevicePath}", 0, OpenHint);
                opened.Add(fd);
                var request = new ifreq { Name = name, ifr_flags = flags };
                if (Libc.ioctl(fd, TUNSETIFF, &request) < 0)
                    throw Failure(Marshal.GetLastPInvokeError(), what);
            }
            return opened;
        }
        catch
        {
            opened.ForEach(fd => fd.Dispose());
            throw;
        }
    }

    /// <summary>The settings that belong to the device and not to a queue.</summary>
    private void Configure(TapOffloads offloads)
    {
        string what = $"configure TAP device '{Name}'";
        int size = virtio_net_hdr.Size;
        Control(_queues[0], TUNSETVNETHDRSZ, &size, $"{what}: vnet header of {size} bytes");
        // Without it the header has the host's byte order; with it readers need not care.
        int yes = 1;
        Control(_queues[0], TUNSETVNETLE, &yes, $"{what}: little-endian vnet header");
        // An attached device may be persistent, left over from an unclean end: this one goes with its descriptors.
        if (Libc.ioctl(_queues[0], TUNSETPERSIST, null) < 0)
            throw Failure(Marshal.GetLastPInvokeError(), $"{what}: persistence off");

        // The kernel refuses a mask with a flag it does not know as a whole, so ask for less and less.
        ReadOnlySpan<TapOffloads> steps =
        [
            TapOffloads.All,
            TapOffloads.All & ~(TapOffloads.Uso4 | TapOffloads.Uso6),
            TapOffloads.Checksum | TapOffloads.Tso4 | TapOffloads.Tso6,
            TapOffloads.Checksum,
            TapOffloads.None,
        ];
        foreach (TapOffloads step in steps)
        {
            TapOffloads wanted = Normalise(offloads & step);
            // The argument is the mask itself, not a pointer to it.
            if (Libc.ioctl(_queues[0], TUNSETOFFLOAD, (void*)(nuint)(uint)wanted) == 0)
            {
                Offloads = wanted;
                return;
            }
            if (Marshal.GetLastPInvokeError() != Errno.EINVAL)
                throw Failure(Marshal.GetLastPInvokeError(), $"{what}: offloads {wanted}");
        }
        throw new LinuxException(Errno.EINVAL, $"{what}: offloads");
    }

    /// <summary>Drops flags whose condition is not met; the kernel would refuse, or silently ignore, them.</summary>
    private static TapOffloads Normalise(TapOffloads wanted)
    {
        const TapOffloads uso = TapOffloads.Uso4 | TapOffloads.Uso6;
        if (!wanted.HasFlag(TapOffloads.Checksum))
            return TapOffloads.None;
        if ((wanted & (TapOffloads.Tso4 | TapOffloads.Tso6)) == 0)
            wanted &= ~TapOffloads.TsoEcn;
        return wanted.HasFlag(uso) ? wanted : wanted & ~uso;
    }

    private ifreq GetInterface(FileDescriptor queue, string what)
    {
        ifreq request = default;
        Control(queue, TUNGETIFF, &request, what);
        return request;
    }

    private void Control(FileDescriptor queue, nuint request, void* argument, string what)
    {
        if (Libc.ioctl(queue, request, argument) < 0)
            throw Failure(Marshal.GetLastPInvokeError(), what);
    }

    private static LinuxException Failure(int errno, string what) => new(errno, what, errno switch
    {
        Errno.EPERM => "This needs root or CAP_NET_ADMIN.",
        Errno.EBUSY => "The device name is in use, by another process or another device; see 'ip link show'.",
        Errno.EINVAL => "A device of this name exists that is not a multi-queue TAP with a vnet header, or the kernel is too old.",
        Errno.EBADFD => "The device was deleted.",
        Errno.E2BIG => $"A device has {MaxQueues} queues at most.",
        _ => null,
    });

    private static string? OpenHint(int errno) => errno switch
    {
        Errno.ENOENT or Errno.ENODEV or Errno.ENXIO =>
            "Load the driver with 'modprobe tun'; in a container, add '--device /dev/net/tun'.",
        Errno.EPERM or Errno.EACCES =>
            "This needs root or CAP_NET_ADMIN; in a container, add '--device /dev/net/tun --cap-add NET_ADMIN'.",
        _ => null,
    };

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial uint if_nametoindex(string name);

#pragma warning disable CS8981 // C's name
    /// <summary>struct ifreq of netdevice(7): a name and a union, of which the flags are used; 40 bytes.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 40)]
    internal struct ifreq
    {
        [FieldOffset(0)] public NameBuffer ifr_name;
        [FieldOffset(16)] public ushort ifr_flags;

        [InlineArray(16)]
        internal struct NameBuffer
        {
            private byte _first;
        }

        public string Name
        {
            readonly get
            {
                ReadOnlySpan<byte> bytes = ifr_name;
                return Encoding.UTF8.GetString(bytes[..bytes.IndexOf((byte)0)]);
            }
            set
            {
                Span<byte> bytes = ifr_name;
                bytes.Clear();
                Encoding.UTF8.GetBytes(value, bytes[..MaxNameLength]);
            }
        }
    }
}
