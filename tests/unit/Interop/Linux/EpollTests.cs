using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed unsafe class EpollTests
{
    [Fact]
    public void Reports_what_happened_to_which_descriptor()
    {
        using var epoll = new Epoll();
        using var first = new EventFd();
        using var second = new EventFd();
        epoll.Add(first.Fd, EpollEvents.In, 0x1122334455667788);
        epoll.Add(second.Fd, EpollEvents.In, ulong.MaxValue);
        byte* buffer = stackalloc byte[Epoll.BufferSize(4)];

        Assert.Equal(0, epoll.Wait(buffer, 4, 0));
        second.Signal();
        Assert.Equal(1, epoll.Wait(buffer, 4, 0));
        Assert.Equal(EpollEvents.In, Epoll.EventsAt(buffer, 0));
        Assert.Equal(ulong.MaxValue, Epoll.DataAt(buffer, 0));

        first.Signal();
        Assert.Equal(2, epoll.Wait(buffer, 4, 0));
        ulong[] seen = [Epoll.DataAt(buffer, 0), Epoll.DataAt(buffer, 1)];
        Assert.Contains(0x1122334455667788UL, seen);
        Assert.Contains(ulong.MaxValue, seen);

        epoll.Modify(first.Fd, EpollEvents.None, 0);
        epoll.Remove(second.Fd);
        Assert.Equal(0, epoll.Wait(buffer, 4, 0));
    }

    [Fact]
    public void Wakes_up_when_signalled_from_another_thread()
    {
        using var epoll = new Epoll();
        using var wake = new EventFd();
        epoll.Add(wake.Fd, EpollEvents.In, 1);
        byte* buffer = stackalloc byte[Epoll.BufferSize(1)];
        var thread = new Thread(() =>
        {
            Thread.Sleep(50);
            wake.Signal();
        });
        thread.Start();
        int count = 0;
        // A signal to the process may end a wait early with 0.
        for (int i = 0; i < 100 && count == 0; i++)
            count = epoll.Wait(buffer, 1, 5000);
        Assert.Equal(1, count);
        thread.Join();
    }

    [Fact]
    public void Misuse_is_named()
    {
        using var epoll = new Epoll();
        using var wake = new EventFd();
        epoll.Add(wake.Fd, EpollEvents.In, 1);
        Assert.Equal(Errno.EEXIST, Assert.Throws<LinuxException>(() => epoll.Add(wake.Fd, EpollEvents.In, 1)).Errno);
        epoll.Remove(wake.Fd);
        var e = Assert.Throws<LinuxException>(() => epoll.Remove(wake.Fd));
        Assert.Equal($"epoll: remove file descriptor {wake.Fd}: No such file or directory (errno 2)", e.Message);
    }

    [Fact]
    public void Eventfd_counts_signals()
    {
        using var wake = new EventFd();
        Assert.Equal(0UL, wake.Drain());
        wake.Signal();
        wake.Signal();
        Assert.Equal(2UL, wake.Drain());
        Assert.Equal(0UL, wake.Drain());
    }

    [Fact]
    public void A_full_eventfd_can_still_be_signalled()
    {
        using var wake = new EventFd();
        ulong most = ulong.MaxValue - 1;
        Assert.Equal(8, Libc.write(wake.Fd, &most, 8));
        wake.Signal();
        Assert.Equal(most, wake.Drain());
    }

    [Fact]
    public void Waiting_and_signalling_allocate_nothing()
    {
        using var epoll = new Epoll();
        using var wake = new EventFd();
        epoll.Add(wake.Fd, EpollEvents.In, 7);
        byte* buffer = (byte*)NativeMemory.Alloc((nuint)Epoll.BufferSize(8));
        ulong sum = 0;
        try
        {
            Loop();
            long before = GC.GetAllocatedBytesForCurrentThread();
            Loop();
            Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        }
        finally
        {
            NativeMemory.Free(buffer);
        }
        Assert.Equal(2 * 1000 * 7UL, sum);

        void Loop()
        {
            for (int i = 0; i < 1000; i++)
            {
                wake.Signal();
                int count = epoll.Wait(buffer, 8, 1000);
                for (int j = 0; j < count; j++)
                    sum += Epoll.DataAt(buffer, j);
                wake.Drain();
                epoll.Wait(buffer, 8, 0);
            }
        }
    }
}
