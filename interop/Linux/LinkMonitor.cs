using System.Runtime.CompilerServices;
using System.Threading.Channels;

namespace Dataplane.Interop.Linux;

public enum LinkEventKind
{
    /// <summary>A device is new, or something about it changed: up or down, carrier, name, MTU, MAC, master.</summary>
    Changed,

    /// <summary>A device was deleted, or moved to another namespace.</summary>
    Removed,

    /// <summary>Events were lost, because they came faster than they were read: list the links anew.</summary>
    Overrun,
}

/// <summary>Something happened to a device; Link is as it is now, or was last, and null after an overrun.</summary>
public readonly record struct LinkEvent(LinkEventKind Kind, LinkInfo? Link);

/// <summary>
/// Tells what happens to the devices of one namespace from now on (RTNLGRP_LINK of rtnetlink(7)). Either poll
/// <see cref="Fd"/> and call <see cref="TryRead"/>, or enumerate <see cref="ReadAllAsync"/>; not both.
/// </summary>
/// <remarks>
/// A monitor keeps its namespace alive. To learn that a container has gone with its device, ask the TAP
/// (<see cref="Tap.IsAlive"/>) instead, and watch only the machine's own namespace with this.
/// </remarks>
public sealed class LinkMonitor : IDisposable
{
    private const uint RTMGRP_LINK = 1;
    private const int ReceiveBuffer = 1 << 20;

    private readonly NetlinkSocket _socket;
    private readonly Queue<LinkEvent> _pending = new();

    private LinkMonitor(NetlinkSocket socket)
    {
        _socket = socket;
    }

    /// <summary>Readable when TryRead has something.</summary>
    public int Fd => _socket.Handle.Value;

    /// <summary>Begins to listen in a namespace, or in the calling thread's. List the links after this, not before.</summary>
    public static LinkMonitor Open(NetNs? ns = null) => new(NetlinkSocket.Open(ns, RTMGRP_LINK, nonBlocking: true, ReceiveBuffer));

    /// <summary>The next event if there is one; never waits. Call until it says false before waiting on the descriptor.</summary>
    public bool TryRead(out LinkEvent next)
    {
        while (!_pending.TryDequeue(out next))
        {
            if (!_socket.TryReceiveEvents(Enqueue, out bool overrun))
                return false;
            if (overrun)
                _pending.Enqueue(new LinkEvent(LinkEventKind.Overrun, null));
        }
        return true;
    }

    /// <summary>Events as they come, until cancelled. A thread of its own waits for them.</summary>
    public async IAsyncEnumerable<LinkEvent> ReadAllAsync([EnumeratorCancellation] CancellationToken cancellation = default)
    {
        Channel<LinkEvent> channel = Channel.CreateUnbounded<LinkEvent>(new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });
        using var stop = new EventFd();
        var thread = new Thread(() => Pump(channel.Writer, stop)) { IsBackground = true, Name = "link monitor" };
        thread.Start();
        try
        {
            await foreach (LinkEvent next in channel.Reader.ReadAllAsync(cancellation).ConfigureAwait(false))
                yield return next;
        }
        finally
        {
            stop.Signal();
            thread.Join(); // it wakes at once, and must be gone before the eventfd is
        }
    }

    public void Dispose() => _socket.Dispose();

    private void Enqueue(ushort type, ReadOnlySpan<byte> body)
    {
        LinkEventKind? kind = type switch
        {
            NetlinkRequest.RTM_NEWLINK => LinkEventKind.Changed,
            NetlinkRequest.RTM_DELLINK => LinkEventKind.Removed,
            _ => null,
        };
        if (kind is { } known && Netlink.ParseLink(body) is { } link)
            _pending.Enqueue(new LinkEvent(known, link));
    }

    private unsafe void Pump(ChannelWriter<LinkEvent> writer, EventFd stop)
    {
        try
        {
            pollfd* fds = stackalloc pollfd[2];
            while (true)
            {
                fds[0] = new pollfd { fd = Fd, events = pollfd.POLLIN };
                fds[1] = new pollfd { fd = stop.Fd, events = pollfd.POLLIN };
                if (Libc.poll(fds, 2, -1) < 0)
                {
                    int errno = Libc.Errno();
                    if (errno == Errno.EINTR)
                        continue;
                    throw new LinuxException(errno, "wait for link events");
                }
                if (fds[1].revents != 0)
                    break;
                while (TryRead(out LinkEvent next))
                    writer.TryWrite(next);
            }
            writer.Complete();
        }
        catch (Exception e)
        {
            writer.Complete(e);
        }
    }
}
