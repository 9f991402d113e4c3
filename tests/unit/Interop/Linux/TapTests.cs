using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>
/// The device is made in one namespace ("host") and moved to another ("container"), as for a real container; both are the
/// test's own. Tests play the switch at the other end.
/// </summary>
public sealed unsafe partial class TapTests : IDisposable
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);
    private static readonly PhysicalAddress OurMac = PhysicalAddress.Parse("02-00-00-00-00-01");
    private static readonly IPAddress OurAddress = IPAddress.Parse("10.7.0.1");
    private static readonly IPAddress ItsAddress = IPAddress.Parse("10.7.0.2");

    private readonly TestNamespace _host = new();
    private readonly TestNamespace _container = new();

    // One frame of 64 KiB and its header.
    private readonly byte[] _buffer = new byte[70_000];

    public void Dispose()
    {
        _container.Dispose();
        _host.Dispose();
    }

    [RootFact]
    public void Creates_a_device_with_all_queues()
    {
        using Tap tap = Tap.Create("dptap0", queues: 3, _host.Ns);
        Assert.Equal("dptap0", tap.ReadName());
        Assert.Equal(3, tap.QueueCount);
        Assert.Equal(TapOffloads.All, tap.Offloads);
        string details = _host.Exec("ip", "-d", "link", "show", "dptap0");
        Assert.Contains("tun type tap pi off vnet_hdr on", details);
        Assert.Contains("multi_queue numqueues 3", details);
        Assert.Contains("persist off", details);
    }

    [RootFact]
    public void The_kernel_chooses_the_number_in_a_pattern()
    {
        using Tap first = Tap.Create("dptap%d", ns: _host.Ns);
        using Tap second = Tap.Create("dptap%d", ns: _host.Ns);
        Assert.Equal(("dptap0", "dptap1"), (first.Name, second.Name));
    }

    [RootFact]
    public void A_device_goes_with_its_last_descriptor()
    {
        using Netlink net = Netlink.Open(_host.Ns);
        Tap tap = Tap.Create("dptap0", queues: 2, _host.Ns);
        int[] fds = tap.DetachFds();
        Assert.Equal(0, tap.QueueCount);
        tap.Dispose();
        Assert.NotNull(net.FindLink("dptap0"));
        foreach (int fd in fds)
            Libc.close(fd);
        Assert.Null(net.FindLink("dptap0"));
    }

    [RootFact]
    public void A_real_ping_is_seen_and_answered()
    {
        using Tap tap = ContainerTap();
        using System.Diagnostics.Process ping = Shell.Start(
            "ip", "netns", "exec", _container.Name, "ping", "-n", "-c", "1", "-W", "10", OurAddress.ToString());

        (virtio_net_hdr header, byte[] arp) = Receive(tap, 0, f => Frames.IsArpRequest(f) && Frames.Target(f).Equals(OurAddress));
        Assert.Equal((0, virtio_net_hdr.VIRTIO_NET_HDR_GSO_NONE), (header.flags, header.gso_type));
        Send(tap, 0, Frames.ArpReply(arp, OurMac));
        (_, byte[] echo) = Receive(tap, 0, f => Frames.IsIcmp(f, 8));
        Assert.Equal(ItsAddress, Frames.Source(echo));
        Assert.Equal(OurMac, new PhysicalAddress(echo[..6]));
        Send(tap, 0, Frames.EchoReply(echo));

        Assert.True(ping.WaitForExit(Soon));
        Assert.Equal(0, ping.ExitCode);
        using Netlink net = Netlink.Open(_container.Ns);
        NeighbourInfo neighbour = Assert.Single(net.ListNeighbours(family: AddressFamily.InterNetwork));
        Assert.Equal((OurAddress, OurMac), (neighbour.Address, neighbour.Mac));
    }

    [RootFact]
    public void A_flow_comes_back_on_the_queue_it_was_sent_on()
    {
        using Tap tap = ContainerTap(queues: 4);
        using Netlink net = Netlink.Open(_container.Ns);
        LinkInfo eth0 = net.GetLink("eth0");
        for (int queue = 0; queue < 4; queue++)
        {
            var peer = new IPAddress(new byte[] { 10, 7, 0, (byte)(100 + queue) });
            net.SetNeighbour(eth0.Index, peer, OurMac);
            // The first reply is on its way before the kernel has taken note of the queue.
            Send(tap, queue, Frames.EchoRequest(eth0.Mac, OurMac, ItsAddress, peer));
            ReceiveAny(tap, f => Frames.IsIcmp(f, 0));
            Send(tap, queue, Frames.EchoRequest(eth0.Mac, OurMac, ItsAddress, peer));
            (_, byte[] reply) = Receive(tap, queue, f => Frames.IsIcmp(f, 0));
            Assert.Equal(peer, new IPAddress(reply[30..34]));
        }
    }

    [RootFact]
    public void A_large_udp_run_arrives_uncut_with_its_checksum_left_to_do()
    {
        using Tap tap = ContainerTap();
        if (!tap.Offloads.HasFlag(TapOffloads.Uso4))
            return; // before Linux 6.2
        SendUdpRun();
        (virtio_net_hdr header, byte[] frame) = Receive(tap, 0, IsUdp);
        Assert.Equal(virtio_net_hdr.VIRTIO_NET_HDR_GSO_UDP_L4, header.gso_type);
        Assert.Equal(virtio_net_hdr.VIRTIO_NET_HDR_F_NEEDS_CSUM, header.flags);
        Assert.Equal((1000, 14 + 20, 6), (header.gso_size, header.csum_start, header.csum_offset));
        Assert.Equal(14 + 20 + 8 + 5500, frame.Length);
    }

    [RootFact]
    public void Without_offloads_the_kernel_cuts_and_sums()
    {
        using Tap tap = ContainerTap(offloads: TapOffloads.None);
        Assert.Equal(TapOffloads.None, tap.Offloads);
        SendUdpRun();
        for (int i = 0; i < 6; i++)
        {
            (virtio_net_hdr header, byte[] frame) = Receive(tap, 0, IsUdp);
            Assert.Equal((0, virtio_net_hdr.VIRTIO_NET_HDR_GSO_NONE), (header.flags, header.gso_type));
            Assert.Equal(14 + 20 + 8 + (i < 5 ? 1000 : 500), frame.Length);
        }
    }

    [RootFact]
    public void Offloads_whose_condition_is_missing_are_left_out()
    {
        using Tap one = Tap.Create("dptap0", ns: _host.Ns, offloads: TapOffloads.Checksum | TapOffloads.Uso4 | TapOffloads.TsoEcn);
        Assert.Equal(TapOffloads.Checksum, one.Offloads);
        using Tap two = Tap.Create("dptap1", ns: _host.Ns, offloads: TapOffloads.Tso4);
        Assert.Equal(TapOffloads.None, two.Offloads);
    }

    [RootFact]
    public void Tcp_segments_of_64_KiB_cross_between_two_taps_unchanged()
    {
        using Tap left = ContainerTap();
        using var otherContainer = new TestNamespace();
        using Tap right = ContainerTap(otherContainer, IPAddress.Parse("10.7.0.3"));
        var endpoint = new IPEndPoint(IPAddress.Parse("10.7.0.3"), 5000);
        using Socket listener = otherContainer.Ns.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
        listener.Bind(endpoint);
        listener.Listen();
        using Socket client = _container.Ns.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));

        // The switch: whatever comes from one goes to the other, header and all.
        int largest = 0;
        bool segmented = false;
        using var stop = new EventFd();
        var wire = new Thread(() =>
        {
            fixed (byte* buffer = _buffer)
            {
                pollfd* fds = stackalloc pollfd[3];
                while (true)
                {
                    fds[0] = new pollfd { fd = left.Fd(0), events = pollfd.POLLIN };
                    fds[1] = new pollfd { fd = right.Fd(0), events = pollfd.POLLIN };
                    fds[2] = new pollfd { fd = stop.Fd, events = pollfd.POLLIN };
                    Libc.poll(fds, 3, -1);
                    if (fds[2].revents != 0)
                        return;
                    for (int i = 0; i < 2; i++)
                    {
                        nint length;
                        while ((length = Libc.read(fds[i].fd, buffer, (nuint)_buffer.Length)) > 0)
                        {
                            largest = Math.Max(largest, (int)length);
                            segmented |= ((virtio_net_hdr*)buffer)->gso_type == virtio_net_hdr.VIRTIO_NET_HDR_GSO_TCPV4;
                            Libc.write(fds[1 - i].fd, buffer, (nuint)length);
                        }
                    }
                }
            }
        });
        wire.Start();
        try
        {
            byte[] sent = new byte[4 << 20];
            Random.Shared.NextBytes(sent);
            client.SendTimeout = 10_000;
            client.Connect(endpoint);
            using Socket server = listener.Accept();
            server.ReceiveTimeout = 10_000;
            var sender = new Thread(() =>
            {
                client.Send(sent);
                client.Shutdown(SocketShutdown.Send);
            });
            sender.Start();
            byte[] received = new byte[sent.Length + 1];
            int total = 0;
            for (int n; (n = server.Receive(received.AsSpan(total))) > 0;)
                total += n;
            sender.Join();
            Assert.Equal(sent, received[..total]);
        }
        finally
        {
            stop.Signal();
            wire.Join();
        }
        Assert.True(segmented);
        Assert.True(largest > 10_000, $"the largest frame had {largest} bytes");
    }

    [RootFact]
    public void Queues_can_be_added_after_the_device_was_moved_and_renamed()
    {
        using Tap tap = ContainerTap();
        Assert.Equal("dpc", tap.Name);
        tap.AddQueues(2);
        Assert.Equal(3, tap.QueueCount);
        Assert.Equal("eth0", tap.ReadName());
        Assert.Contains("numqueues 3", _container.Exec("ip", "-d", "link", "show", "eth0"));
    }

    [RootFact]
    public void A_queue_without_a_reader_can_be_taken_out_of_service()
    {
        using Tap tap = ContainerTap(queues: 4);
        for (int queue = 1; queue < 4; queue++)
        {
            tap.SetQueueActive(queue, false);
            tap.SetQueueActive(queue, false);
        }
        Assert.Throws<ArgumentOutOfRangeException>(() => tap.SetQueueActive(0, false));
        using Netlink net = Netlink.Open(_container.Ns);
        LinkInfo eth0 = net.GetLink("eth0");
        // All flows, which would hash to all queues, come on the first.
        for (byte peer = 100; peer < 132; peer++)
        {
            var address = new IPAddress(new byte[] { 10, 7, 0, peer });
            net.SetNeighbour(eth0.Index, address, OurMac);
            Send(tap, 0, Frames.EchoRequest(eth0.Mac, OurMac, ItsAddress, address));
            Receive(tap, 0, f => Frames.IsIcmp(f, 0));
        }
        tap.SetQueueActive(3, true);
        tap.SetQueueActive(3, true);
        Assert.Contains("numqueues 2 numdisabled 2", _container.Exec("ip", "-d", "link", "show", "eth0"));
    }

    [RootFact]
    public void Another_process_can_take_over_the_descriptors()
    {
        using Tap tap = ContainerTap(queues: 2);
        int[] copies = [Duplicate(tap.Fd(0)), Duplicate(tap.Fd(1))];
        tap.Dispose();
        using Tap adopted = Tap.Adopt(copies, tap.Offloads);
        Assert.Equal(("eth0", 2, TapOffloads.All), (adopted.Name, adopted.QueueCount, adopted.Offloads));
        SendUdpRun();
        Assert.True(IsUdp(ReceiveAny(adopted, IsUdp)));
    }

    [RootFact]
    public void Descriptors_that_do_not_belong_together_are_refused_and_stay_the_callers()
    {
        using Tap a = Tap.Create("dptap0", ns: _host.Ns);
        using Tap b = Tap.Create("dptap1", ns: _host.Ns);
        var e = Assert.Throws<LinuxException>(() => Tap.Adopt([a.Fd(0), b.Fd(0)], TapOffloads.All));
        Assert.EndsWith("It belongs to 'dptap1', the others to 'dptap0'.", e.Message);
        Assert.Equal("dptap0", a.ReadName());
        using var wake = new EventFd();
        Assert.Throws<LinuxException>(() => Tap.Adopt([wake.Fd], TapOffloads.All));
        wake.Signal();
        Assert.Throws<ArgumentOutOfRangeException>(() => Tap.Adopt([], TapOffloads.All));
    }

    [RootFact]
    public void A_second_opener_attaches_or_is_told_that_the_name_is_taken()
    {
        using Tap tap = Tap.Create("dptap0", ns: _host.Ns);
        var e = Assert.Throws<LinuxException>(() => Tap.Create("dptap0", ns: _host.Ns));
        Assert.Equal(Errno.EBUSY, e.Errno);
        Assert.Equal("open TAP device 'dptap0': Device or resource busy (errno 16). The device name is in use, by another process or another device; see 'ip link show'.", e.Message);
        using Tap more = Tap.Attach("dptap0", queues: 2, _host.Ns);
        Assert.Contains("numqueues 3", _host.Exec("ip", "-d", "link", "show", "dptap0"));

        e = Assert.Throws<LinuxException>(() => Tap.Attach("dptap1", ns: _host.Ns));
        Assert.Equal("attach to TAP device 'dptap1': No such device (errno 19)", e.Message);
        Assert.Equal(Errno.EINVAL, Assert.Throws<LinuxException>(() => Tap.Attach("lo", ns: _host.Ns)).Errno);
    }

    [RootFact]
    public void A_persistent_device_is_persistent_no_more()
    {
        _host.Exec("ip", "tuntap", "add", "dev", "dptap0", "mode", "tap", "multi_queue", "vnet_hdr");
        Tap.Attach("dptap0", ns: _host.Ns).Dispose();
        using Netlink net = Netlink.Open(_host.Ns);
        Assert.Null(net.FindLink("dptap0"));
    }

    [RootFact]
    public void A_device_deleted_under_its_descriptors_is_noticed()
    {
        using Tap tap = ContainerTap();
        using var epoll = new Epoll();
        epoll.Add(tap.Fd(0), EpollEvents.In, 0);
        ReadAll(tap);
        byte* events = stackalloc byte[Epoll.BufferSize(1)];
        Assert.Equal(0, epoll.Wait(events, 1, 0));

        Assert.True(tap.IsAlive);

        // While somebody waits.
        using Netlink net = Netlink.Open(_container.Ns);
        int index = net.GetLink("eth0").Index;
        var deleter = new Thread(() =>
        {
            Thread.Sleep(50);
            net.DeleteLink(index);
        });
        deleter.Start();
        WaitForError(epoll);
        deleter.Join();

        Assert.False(tap.IsAlive);
        fixed (byte* buffer = _buffer)
        {
            Assert.Equal(-1, Libc.read(tap.Fd(0), buffer, 100));
            Assert.Equal(Errno.EBADFD, Libc.Errno());
            Assert.Equal(-1, Libc.write(tap.Fd(0), buffer, 100));
            Assert.Equal(Errno.EBADFD, Libc.Errno());
        }
        var e = Assert.Throws<LinuxException>(() => tap.ReadName());
        Assert.Equal("read the name of TAP device 'dpc': File descriptor in bad state (errno 77). The device was deleted.", e.Message);
        Assert.Equal(Errno.EBADFD, Assert.Throws<LinuxException>(() => tap.AddQueues(1)).Errno);
    }

    [RootFact]
    public void A_container_that_ends_takes_its_moved_device_along()
    {
        var container = new TestNamespace();
        using Tap tap = ContainerTap(container, ItsAddress);
        Assert.True(tap.IsAlive);
        container.Dispose();
        Assert.True(SpinWait.SpinUntil(() => !tap.IsAlive, Soon));
    }

    [RootFact]
    public void A_device_made_inside_a_namespace_keeps_that_alive()
    {
        var container = new TestNamespace();
        using Tap tap = Tap.Create("eth0", ns: container.Ns);
        container.Dispose();
        Thread.Sleep(500);
        Assert.True(tap.IsAlive);
        Assert.Equal("eth0", tap.ReadName());
    }

    [RootFact]
    public void A_device_that_is_down_takes_nothing()
    {
        using Tap tap = Tap.Create("dptap0", ns: _host.Ns);
        fixed (byte* buffer = _buffer)
        {
            Assert.Equal(-1, Libc.write(tap.Fd(0), buffer, 100));
            Assert.Equal(Errno.EIO, Libc.Errno());
            Assert.Equal(-1, Libc.read(tap.Fd(0), buffer, 100));
            Assert.Equal(Errno.EAGAIN, Libc.Errno());
        }
    }

    [RootFact]
    public void The_carrier_can_be_taken_away()
    {
        using Tap tap = ContainerTap();
        using Netlink net = Netlink.Open(_container.Ns);
        Assert.True(net.GetLink("eth0").HasCarrier);
        tap.SetCarrier(false);
        Assert.True(SpinWait.SpinUntil(() => !net.GetLink("eth0").HasCarrier, Soon));
        tap.SetCarrier(true);
        Assert.True(SpinWait.SpinUntil(() => net.GetLink("eth0").HasCarrier, Soon));
    }

    [RootFact]
    public void Reading_and_writing_allocate_nothing()
    {
        using Tap tap = ContainerTap();
        using Netlink net = Netlink.Open(_container.Ns);
        LinkInfo eth0 = net.GetLink("eth0");
        net.SetNeighbour(eth0.Index, OurAddress, OurMac);
        byte[] request = Frames.EchoRequest(eth0.Mac, OurMac, ItsAddress, OurAddress);
        int replies = 0;
        Loop(tap.Fd(0), 10);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Loop(tap.Fd(0), 1000);
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.True(replies > 0);

        void Loop(int fd, int count)
        {
            virtio_net_hdr header;
            iovec* pieces = stackalloc iovec[2];
            fixed (byte* frame = request)
            fixed (byte* buffer = _buffer)
            {
                for (int i = 0; i < count; i++)
                {
                    header = default;
                    pieces[0] = new iovec { iov_base = &header, iov_len = virtio_net_hdr.Size };
                    pieces[1] = new iovec { iov_base = frame, iov_len = (nuint)request.Length };
                    Libc.writev(fd, pieces, 2);
                    pieces[1] = new iovec { iov_base = buffer, iov_len = (nuint)_buffer.Length };
                    while (Libc.readv(fd, pieces, 2) > 0)
                        replies++;
                    if (Libc.Errno() != Errno.EAGAIN)
                        return;
                }
            }
        }
    }

    [RootFact]
    public void The_number_of_queues_is_checked()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => Tap.Create("dptap0", queues: 0, _host.Ns));
        Assert.Throws<ArgumentOutOfRangeException>(() => Tap.Create("dptap0", queues: 257, _host.Ns));
        using Tap most = Tap.Create("dptap0", queues: Tap.MaxQueues, _host.Ns);
        Assert.Equal(Tap.MaxQueues, most.QueueCount);
        Assert.Equal("open TAP device 'dptap0': Argument list too long (errno 7). A device has 256 queues at most.",
            Assert.Throws<LinuxException>(() => most.AddQueues(1)).Message);
    }

    [RootFact]
    public void Who_may_not_is_told_so()
    {
        var e = Assert.Throws<LinuxException>(() => Unprivileged.Run(() => Tap.Create("dptap0")));
        Assert.Equal(Errno.EPERM, e.Errno);
        Assert.Equal("open TAP device 'dptap0': Operation not permitted (errno 1). This needs root or CAP_NET_ADMIN.", e.Message);
    }

    [RootFact]
    public void A_missing_driver_is_named()
    {
        // A mount namespace of this thread's own, in which /dev/net is empty.
        LinuxException? error = null;
        var thread = new Thread(() =>
        {
            const int CLONE_NEWNS = 0x20000;
            const nuint MS_REC = 0x4000;
            const nuint MS_PRIVATE = 1 << 18;
            if (unshare(CLONE_NEWNS) != 0 || mount("none", "/", null, MS_REC | MS_PRIVATE, null) != 0
                || mount("dpunit", "/dev/net", "tmpfs", 0, null) != 0)
                return;
            error = Assert.Throws<LinuxException>(() => Tap.Create("dptap0"));
        });
        thread.Start();
        thread.Join();
        Assert.Equal("open TAP device 'dptap0': open /dev/net/tun: No such file or directory (errno 2). "
            + "Load the driver with 'modprobe tun'; in a container, add '--device /dev/net/tun'.", error!.Message);
    }

    /// <summary>A TAP that is the container's eth0, up and with an address, as the control process would make it.</summary>
    private Tap ContainerTap(int queues = 1, TapOffloads offloads = TapOffloads.All) =>
        ContainerTap(_container, ItsAddress, queues, offloads);

    private Tap ContainerTap(TestNamespace container, IPAddress address, int queues = 1, TapOffloads offloads = TapOffloads.All)
    {
        // IPv6 would chatter on its own.
        container.Ns.Run(() => File.WriteAllText("/proc/sys/net/ipv6/conf/default/disable_ipv6", "1"));
        Tap tap = Tap.Create("dpc", queues, _host.Ns, offloads);
        using (Netlink host = Netlink.Open(_host.Ns))
            host.MoveTo(host.GetLink("dpc").Index, container.Ns, "eth0");
        using Netlink net = Netlink.Open(container.Ns);
        int index = net.GetLink("eth0").Index;
        net.AddAddress(index, address, 24);
        net.SetUp(index);
        return tap;
    }

    private void SendUdpRun()
    {
        using (Netlink net = Netlink.Open(_container.Ns))
            net.SetNeighbour(net.GetLink("eth0").Index, OurAddress, OurMac);
        using Socket udp = _container.Ns.Run(() => new Socket(AddressFamily.InterNetwork, SocketType.Dgram, ProtocolType.Udp));
        const int SOL_UDP = 17;
        const int UDP_SEGMENT = 103;
        udp.SetRawSocketOption(SOL_UDP, UDP_SEGMENT, BitConverter.GetBytes(1000));
        udp.SendTo(new byte[5500], new IPEndPoint(OurAddress, 9));
    }

    private static bool IsUdp(byte[] frame) => frame.Length >= 42 && Frames.EtherType(frame) == Frames.EtherIPv4 && frame[23] == 17;

    private void Send(Tap tap, int queue, byte[] frame)
    {
        virtio_net_hdr header = default;
        fixed (byte* bytes = frame)
        {
            iovec* pieces = stackalloc iovec[2];
            pieces[0] = new iovec { iov_base = &header, iov_len = virtio_net_hdr.Size };
            pieces[1] = new iovec { iov_base = bytes, iov_len = (nuint)frame.Length };
            Assert.Equal(virtio_net_hdr.Size + frame.Length, Libc.writev(tap.Fd(queue), pieces, 2));
        }
    }

    private byte[] ReceiveAny(Tap tap, Func<byte[], bool> wanted)
    {
        byte[]? found = null;
        Assert.True(SpinWait.SpinUntil(() =>
        {
            for (int queue = 0; queue < tap.QueueCount && found is null; queue++)
                found = TryReceive(tap, queue) is { } next && wanted(next.Frame) ? next.Frame : null;
            return found is not null;
        }, Soon));
        return found!;
    }

    /// <summary>The next frame of a kind; others are thrown away.</summary>
    private (virtio_net_hdr Header, byte[] Frame) Receive(Tap tap, int queue, Func<byte[], bool> wanted)
    {
        long deadline = Environment.TickCount64 + (long)Soon.TotalMilliseconds;
        while (Environment.TickCount64 < deadline)
        {
            if (TryReceive(tap, queue) is not { } next)
            {
                var one = new pollfd { fd = tap.Fd(queue), events = pollfd.POLLIN };
                Libc.poll(&one, 1, 100);
            }
            else if (wanted(next.Frame))
            {
                return next;
            }
        }
        throw new TimeoutException("the frame did not come");
    }

    private (virtio_net_hdr Header, byte[] Frame)? TryReceive(Tap tap, int queue)
    {
        fixed (byte* buffer = _buffer)
        {
            nint length = Libc.read(tap.Fd(queue), buffer, (nuint)_buffer.Length);
            if (length < 0 && Libc.Errno() == Errno.EAGAIN)
                return null;
            Assert.InRange(length, virtio_net_hdr.Size, _buffer.Length);
            return (*(virtio_net_hdr*)buffer, _buffer[virtio_net_hdr.Size..(int)length]);
        }
    }

    private void ReadAll(Tap tap)
    {
        while (TryReceive(tap, 0) is not null)
        {
        }
    }

    private static void WaitForError(Epoll epoll)
    {
        byte* events = stackalloc byte[Epoll.BufferSize(1)];
        long deadline = Environment.TickCount64 + (long)Soon.TotalMilliseconds;
        while (Environment.TickCount64 < deadline)
        {
            if (epoll.Wait(events, 1, 1000) == 1 && Epoll.EventsAt(events, 0).HasFlag(EpollEvents.Error))
                return;
        }
        throw new TimeoutException("epoll did not report an error");
    }

    [LibraryImport("libc")]
    private static partial int unshare(int flags);

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int mount(string source, string target, string? type, nuint flags, void* data);

    private static int Duplicate(int fd)
    {
        var handle = new FileDescriptor(fd);
        try
        {
            return handle.Duplicate().Detach();
        }
        finally
        {
            handle.Detach();
        }
    }
}
