using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed unsafe class LibcTests
{
    [Fact]
    public void Errno_survives_garbage_collections_on_the_way_back()
    {
        // The one worry about reading errno after a bare call: a collection that stops this thread in between makes system
        // calls of its own.
        int wrong = 0;
        bool done = false;
        var thread = new Thread(() =>
        {
            byte one;
            while (!Volatile.Read(ref done))
            {
                if (Libc.read(-1, &one, 1) != -1 || Libc.Errno() != Errno.EBADF)
                    wrong++;
            }
        });
        thread.Start();
        for (int i = 0; i < 200; i++)
            GC.Collect(0);
        Volatile.Write(ref done, true);
        thread.Join();
        Assert.Equal(0, wrong);
    }

    [Fact]
    public void A_descriptor_is_closed_once_and_not_used_afterwards()
    {
        using var wake = new EventFd();
        FileDescriptor copy = wake.Handle.Duplicate();
        Assert.NotEqual(wake.Fd, copy.Value);
        copy.Dispose();
        copy.Dispose();
        Assert.Throws<ObjectDisposedException>(() => copy.Value);

        FileDescriptor given = wake.Handle.Duplicate();
        int number = given.Detach();
        given.Dispose();
        Assert.Equal(0, Libc.close(number));
    }

    [Fact]
    public void A_failure_says_what_failed_why_and_what_to_do()
    {
        Assert.Equal("do this: Permission denied (errno 13)", new LinuxException(Errno.EACCES, "do this").Message);
        var e = new LinuxException(Errno.EACCES, "do this", "Do that.");
        Assert.Equal("do this: Permission denied (errno 13). Do that.", e.Message);
        Assert.Equal(Errno.EACCES, e.Errno);
    }
}
