using System.Runtime.Versioning;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

[SupportedOSPlatform("linux")]
public sealed unsafe class SharedMemoryTests : IDisposable
{
    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void What_one_mapping_writes_another_reads()
    {
        string path = _directory.File("segment");
        using SharedMemory a = SharedMemory.Create(path, 100_000, OwnerOnly);
        using SharedMemory b = SharedMemory.Open(path, readOnly: true);
        Assert.Equal((nuint)100_000, a.Length);
        Assert.Equal((nuint)100_000, b.Length);
        Assert.True(b.IsReadOnly);
        Assert.Equal(0, a.Pointer[99_999]);
        a.Pointer[99_999] = 42;
        Assert.Equal(42, b.Pointer[99_999]);
        Assert.Equal(OwnerOnly, File.GetUnixFileMode(path));
    }

    [Fact]
    public void Mode_is_not_cut_by_the_umask()
    {
        const UnixFileMode mode = OwnerOnly | UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.OtherRead;
        using SharedMemory memory = SharedMemory.Create(_directory.File("segment"), 4096, mode);
        Assert.Equal(mode, File.GetUnixFileMode(_directory.File("segment")));
    }

    [Fact]
    public void An_existing_file_is_not_replaced()
    {
        string path = _directory.File("segment");
        File.WriteAllText(path, "precious");
        var e = Assert.Throws<LinuxException>(() => SharedMemory.Create(path, 4096, OwnerOnly));
        Assert.Equal(Errno.EEXIST, e.Errno);
        Assert.Equal($"create shared memory file '{path}': File exists (errno 17). The file exists already.", e.Message);
        Assert.Equal("precious", File.ReadAllText(path));
    }

    [Fact]
    public void Missing_and_empty_files_are_named()
    {
        string path = _directory.File("segment");
        Assert.Equal(Errno.ENOENT, Assert.Throws<LinuxException>(() => SharedMemory.Open(path)).Errno);
        File.WriteAllText(path, "");
        Assert.Contains("may not have finished yet", Assert.Throws<LinuxException>(() => SharedMemory.Open(path)).Message);
    }

    [RootFact]
    public void A_full_file_system_is_an_error_at_creation()
    {
        Shell.Run("mount", "-t", "tmpfs", "-o", "size=64k", "dpunit", _directory.Path);
        try
        {
            string path = _directory.File("segment");
            var e = Assert.Throws<LinuxException>(() => SharedMemory.Create(path, 1 << 20, OwnerOnly));
            Assert.Equal(Errno.ENOSPC, e.Errno);
            Assert.StartsWith($"create shared memory file '{path}': allocate 1048576 bytes: No space left on device (errno 28). ", e.Message);
            Assert.False(File.Exists(path));

            using SharedMemory fits = SharedMemory.Create(path, 32 << 10, OwnerOnly, MemoryOptions.Populate);
            new Span<byte>(fits.Pointer, 32 << 10).Fill(1);
        }
        finally
        {
            Shell.Run("umount", _directory.Path);
        }
    }

    [RootFact]
    public void Too_few_huge_pages_are_an_error_at_creation()
    {
        Shell.Run("mount", "-t", "hugetlbfs", "-o", "pagesize=2M", "dpunit", _directory.Path);
        try
        {
            // More than any machine has.
            var e = Assert.Throws<LinuxException>(() => SharedMemory.Create(_directory.File("segment"), (nuint)1 << 45, OwnerOnly));
            Assert.Contains("too few free huge pages of 2097152 bytes", e.Message);
            Assert.Empty(Directory.GetFiles(_directory.Path));
        }
        finally
        {
            Shell.Run("umount", _directory.Path);
        }
    }

    [Fact]
    public void An_anonymous_file_can_be_shared_by_its_descriptor_and_not_resized()
    {
        using SharedMemory a = SharedMemory.CreateMemFd("dpunit", 10_000, MemoryOptions.Populate);
        using SharedMemory b = SharedMemory.FromHandle(a.Handle!.Duplicate());
        b.Pointer[9_999] = 7;
        Assert.Equal(7, a.Pointer[9_999]);
        Assert.True(Libc.ftruncate(a.Handle!, 0) < 0);
    }

    [Theory]
    [InlineData(1, 64)]
    [InlineData(5000, 4096)]
    [InlineData(3_000_000, 2 << 20)]
    [InlineData(2 << 20, 2 << 20)]
    public void Private_memory_is_aligned_and_zero(int length, int alignment)
    {
        using SharedMemory memory = SharedMemory.CreatePrivate((nuint)length, (nuint)alignment, MemoryOptions.HugePages | MemoryOptions.Populate | MemoryOptions.Lock);
        Assert.Equal(0u, (nuint)memory.Pointer % (nuint)alignment);
        Assert.Equal((nuint)length, memory.Length);
        var bytes = new Span<byte>(memory.Pointer, length);
        Assert.False(bytes.ContainsAnyExcept((byte)0));
        bytes.Fill(1);
    }

    [Fact]
    public void Dispose_unmaps()
    {
        SharedMemory memory = SharedMemory.CreateMemFd("dpunit", 4096);
        FileDescriptor handle = memory.Handle!;
        memory.Dispose();
        memory.Dispose();
        Assert.True(memory.Pointer == null);
        Assert.True(handle.IsClosed);
    }
}
