using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

[SupportedOSPlatform("linux")]
public sealed unsafe partial class SeqPacketTests : IDisposable
{
    private static readonly TimeSpan Soon = TimeSpan.FromSeconds(10);

    private readonly TempDirectory _directory = new();
    private readonly byte[] _buffer = new byte[SeqPacketConnection.MaxMessageLength];
    private readonly int[] _fds = new int[SeqPacketConnection.MaxFds];

    private string SocketPath => _directory.File("socket");

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Messages_keep_their_boundaries_up_to_64_KiB()
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (a)
        using (b)
        {
            byte[] large = new byte[SeqPacketConnection.MaxMessageLength];
            Random.Shared.NextBytes(large);
            a.Send("one"u8);
            a.Send(large);
            Assert.Equal(new Received(3, 0), b.Receive(_buffer, timeout: Soon));
            Assert.Equal(new Received(large.Length, 0), b.Receive(_buffer, timeout: Soon));
            Assert.Equal(large, _buffer);
        }
    }

    [Fact]
    public void Descriptors_arrive_over_a_real_socket_and_work()
    {
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath);
        using SeqPacketConnection client = SeqPacketConnection.Connect(SocketPath, Soon);
        using SeqPacketConnection server = listener.Accept(Soon)!;
        EventFd[] wakes = [.. Enumerable.Range(0, SeqPacketConnection.MaxFds).Select(_ => new EventFd())];
        client.Send("64 of them"u8, [.. wakes.Select(w => w.Fd)]);

        Assert.Equal(new Received(10, 64), server.Receive(_buffer, _fds, Soon));
        for (int i = 0; i < wakes.Length; i++)
        {
            using var copy = new EventFd(new FileDescriptor(_fds[i]));
            Assert.NotEqual(wakes[i].Fd, copy.Fd);
            Assert.Contains("cloexec", DescriptorFlags(copy.Fd));
            copy.Signal();
            Assert.Equal(1UL, wakes[i].Drain());
            wakes[i].Dispose();
        }
    }

    [Fact]
    public void Limits_are_checked_before_sending()
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (a)
        using (b)
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => a.Send([]));
            Assert.Throws<ArgumentOutOfRangeException>(() => a.Send(new byte[SeqPacketConnection.MaxMessageLength + 1]));
            Assert.Throws<ArgumentOutOfRangeException>(() => a.Send([1], new int[SeqPacketConnection.MaxFds + 1]));
            Assert.Equal(Errno.EBADF, Assert.Throws<LinuxException>(() => a.Send([1], [-1])).Errno);
        }
    }

    [Theory]
    [InlineData(0, 1)]
    [InlineData(1, 2)]
    [InlineData(1, 3)]
    [InlineData(2, 9)]
    public void More_descriptors_than_expected_are_an_error_and_get_closed(int room, int sent)
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (a)
        using (b)
        {
            int* pipe = stackalloc int[2];
            Assert.Equal(0, pipe2(pipe, 0));
            a.Send([1], [.. Enumerable.Repeat(pipe[1], sent)]);
            Libc.close(pipe[1]);
            var e = Assert.Throws<LinuxException>(() => b.Receive(_buffer, new int[room], Soon));
            Assert.Equal(Errno.EMSGSIZE, e.Errno);
            // The pipe ends when its last writing end is closed: none was leaked.
            byte one;
            Assert.Equal(0, Libc.read(pipe[0], &one, 1));
            Libc.close(pipe[0]);
        }
    }

    [Fact]
    public void A_message_larger_than_the_buffer_is_an_error_and_its_descriptors_get_closed()
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (a)
        using (b)
        {
            int* pipe = stackalloc int[2];
            Assert.Equal(0, pipe2(pipe, 0));
            a.Send(new byte[100], [pipe[1]]);
            a.Send("next"u8);
            Libc.close(pipe[1]);
            Assert.Equal(Errno.EMSGSIZE, Assert.Throws<LinuxException>(() => b.Receive(_buffer.AsSpan(0, 99), _fds, Soon)).Errno);
            byte one;
            Assert.Equal(0, Libc.read(pipe[0], &one, 1));
            Libc.close(pipe[0]);
            Assert.Equal(4, b.Receive(_buffer, timeout: Soon).Length);
        }
    }

    [Fact]
    public void The_end_is_seen_after_the_last_message()
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (b)
        {
            a.Send("bye"u8);
            a.Dispose();
            Assert.False(b.Receive(_buffer, timeout: Soon).IsEnd);
            Assert.True(b.Receive(_buffer, timeout: Soon).IsEnd);
            Assert.True(b.Receive(_buffer, timeout: Soon).IsEnd);
            var e = Assert.Throws<LinuxException>(() => b.Send("anyone?"u8));
            Assert.Equal("send 7 bytes and 0 file descriptors to the peer: Broken pipe (errno 32). The peer has closed the connection.", e.Message);
        }
    }

    [Fact]
    public void A_peer_that_dies_with_unread_messages_is_seen()
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (b)
        {
            b.Send("never read"u8);
            a.Dispose();
            Assert.Equal(Errno.ECONNRESET, Assert.Throws<LinuxException>(() => b.Receive(_buffer, timeout: Soon)).Errno);
            Assert.True(b.Receive(_buffer, timeout: Soon).IsEnd);
        }
    }

    [Fact]
    public void Waiting_ends_with_the_time()
    {
        (SeqPacketConnection a, SeqPacketConnection b) = SeqPacketConnection.CreatePair();
        using (a)
        using (b)
        {
            Assert.False(b.TryReceive(_buffer, _fds, TimeSpan.FromMilliseconds(20), out _));
            Assert.Equal(Errno.ETIMEDOUT, Assert.Throws<LinuxException>(() => b.Receive(_buffer, timeout: TimeSpan.Zero)).Errno);
            // Until the other side's queue is full.
            int sent = 0;
            var e = Assert.Throws<LinuxException>(() =>
            {
                for (; sent < 10_000; sent++)
                    a.Send(_buffer, timeout: TimeSpan.FromMilliseconds(20));
            });
            Assert.Equal(Errno.ETIMEDOUT, e.Errno);
            Assert.InRange(sent, 2, 100);
            // A message that waits for room goes once there is some.
            var thread = new Thread(() =>
            {
                Thread.Sleep(20);
                for (int i = 0; i <= sent; i++)
                    b.Receive(new byte[_buffer.Length], timeout: Soon);
            });
            thread.Start();
            a.Send(_buffer, timeout: Soon);
            thread.Join();
        }
    }

    [Fact]
    public void Both_sides_know_who_the_other_is()
    {
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath);
        using SeqPacketConnection client = SeqPacketConnection.Connect(SocketPath, Soon);
        using SeqPacketConnection server = listener.Accept(Soon)!;
        Assert.Equal(Environment.ProcessId, server.Peer.Pid);
        Assert.Equal(LinuxProcess.EffectiveUserId, server.Peer.Uid);
        Assert.Equal(server.Peer, client.Peer);
    }

    [RootFact]
    public void Another_user_is_told_apart_and_the_mode_keeps_him_out()
    {
        File.SetUnixFileMode(_directory.Path, (UnixFileMode)0x1ed /* 0755 */);
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath, (UnixFileMode)0x1b6 /* 0666 */);
        Unprivileged.Run(() => SeqPacketConnection.Connect(SocketPath, Soon).Dispose());
        using SeqPacketConnection server = listener.Accept(Soon)!;
        Assert.Equal(Unprivileged.Uid, server.Peer.Uid);

        using SeqPacketListener closed = SeqPacketListener.Listen(_directory.File("closed"));
        var e = Assert.Throws<LinuxException>(() => Unprivileged.Run(() => SeqPacketConnection.Connect(closed.Path, Soon)));
        Assert.Equal(Errno.EACCES, e.Errno);

        using SeqPacketListener his = SeqPacketListener.Listen(_directory.File("his"), uid: Unprivileged.Uid);
        Assert.True(Libc.TryStat(his.Path, out statx_t stat));
        Assert.Equal(Unprivileged.Uid, stat.stx_uid);
        Unprivileged.Run(() => SeqPacketConnection.Connect(his.Path, Soon).Dispose());
    }

    [Fact]
    public void Nobody_at_the_other_end_is_named()
    {
        var e = Assert.Throws<LinuxException>(() => SeqPacketConnection.Connect(SocketPath));
        Assert.Equal($"connect to socket '{SocketPath}': No such file or directory (errno 2). The process that makes it is not running, or uses another path.", e.Message);
        LeaveStaleSocket();
        Assert.Equal(Errno.ECONNREFUSED, Assert.Throws<LinuxException>(() => SeqPacketConnection.Connect(SocketPath)).Errno);
    }

    [Fact]
    public void A_stale_socket_file_is_replaced()
    {
        LeaveStaleSocket();
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath);
        SeqPacketConnection.Connect(SocketPath, Soon).Dispose();
    }

    [Fact]
    public void The_way_is_cleared_of_what_nobody_listens_on()
    {
        Assert.True(SeqPacketListener.Clear(SocketPath, "test")); // nothing there
        LeaveStaleSocket();
        Assert.True(SeqPacketListener.Clear(SocketPath, "test"));
        Assert.False(File.Exists(SocketPath));

        File.WriteAllText(SocketPath, "precious");
        Assert.Equal(Errno.EADDRINUSE, Assert.Throws<LinuxException>(() => SeqPacketListener.Clear(SocketPath, "test")).Errno);
        Assert.Equal("precious", File.ReadAllText(SocketPath));
    }

    [Fact]
    public void A_listener_in_the_way_is_left_alone_and_sees_nothing_of_it()
    {
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath);
        Assert.False(SeqPacketListener.Clear(SocketPath, "test"));
        Assert.True(File.Exists(SocketPath));
        Assert.Null(listener.Accept(TimeSpan.Zero));
        SeqPacketConnection.Connect(SocketPath, Soon).Dispose();
    }

    [Fact]
    public void A_live_socket_is_not_replaced()
    {
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath);
        var e = Assert.Throws<LinuxException>(() => SeqPacketListener.Listen(SocketPath));
        Assert.Equal(Errno.EADDRINUSE, e.Errno);
        Assert.EndsWith($"Process {Environment.ProcessId} is listening there.", e.Message);
        SeqPacketConnection.Connect(SocketPath, Soon).Dispose();
    }

    [Fact]
    public void Another_file_is_not_replaced()
    {
        File.WriteAllText(SocketPath, "precious");
        Assert.Equal(Errno.EADDRINUSE, Assert.Throws<LinuxException>(() => SeqPacketListener.Listen(SocketPath)).Errno);
        Assert.Equal("precious", File.ReadAllText(SocketPath));
    }

    [Fact]
    public void The_socket_file_goes_with_its_listener_only()
    {
        SeqPacketListener first = SeqPacketListener.Listen(SocketPath);
        File.Delete(SocketPath);
        SeqPacketListener second = SeqPacketListener.Listen(SocketPath);
        first.Dispose();
        Assert.True(File.Exists(SocketPath));
        second.Dispose();
        Assert.False(File.Exists(SocketPath));
    }

    [Fact]
    public void Accept_ends_with_the_time()
    {
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath);
        Assert.Null(listener.Accept(TimeSpan.FromMilliseconds(20)));
    }

    [Fact]
    public void A_full_backlog_is_waited_for()
    {
        using SeqPacketListener listener = SeqPacketListener.Listen(SocketPath, backlog: 0);
        using SeqPacketConnection first = SeqPacketConnection.Connect(SocketPath, Soon);
        var e = Assert.Throws<LinuxException>(() => SeqPacketConnection.Connect(SocketPath, TimeSpan.FromMilliseconds(50)));
        Assert.Equal(Errno.ETIMEDOUT, e.Errno);
        listener.Accept(Soon)!.Dispose();
        SeqPacketConnection.Connect(SocketPath, Soon).Dispose();
    }

    [Fact]
    public void Paths_that_do_not_fit_are_refused()
    {
        Assert.Throws<ArgumentException>(() => SeqPacketListener.Listen(""));
        Assert.Throws<ArgumentException>(() => SeqPacketConnection.Connect("/" + new string('x', 107)));
        string longest = _directory.File("").PadRight(107, 'x');
        using SeqPacketListener listener = SeqPacketListener.Listen(longest);
        Assert.True(File.Exists(longest));
    }

    private void LeaveStaleSocket()
    {
        string elsewhere = _directory.File("moved");
        SeqPacketListener listener = SeqPacketListener.Listen(elsewhere);
        File.Move(elsewhere, SocketPath);
        listener.Dispose();
    }

    private static string DescriptorFlags(int fd)
    {
        string line = File.ReadLines($"/proc/self/fdinfo/{fd}").First(l => l.StartsWith("flags:", StringComparison.Ordinal));
        long flags = Convert.ToInt64(line["flags:".Length..].Trim(), 8);
        return (flags & Libc.O_CLOEXEC) != 0 ? "cloexec" : "";
    }

    [LibraryImport("libc")]
    private static partial int pipe2(int* pair, int flags);
}
