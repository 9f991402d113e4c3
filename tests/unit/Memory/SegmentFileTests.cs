using System.Runtime.Versioning;
using Dataplane.Interop.Linux;
using Dataplane.Memory;
using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests.Memory;

/// <summary>
/// The segment as a file that outlives its makers: what one process writes another reads, and a file that is not exactly what
/// this program would make is refused with a text that names it and says how to clear it.
/// </summary>
[SupportedOSPlatform("linux")]
public sealed unsafe class SegmentFileTests : IDisposable
{
    private static readonly SegmentOptions s_small = new() { MaxWorkers = 2, MaxPorts = 8, MaxBridges = 4, MacCapacity = 64 };

    private readonly TempDirectory _directory = new();
    private readonly string _path;

    public SegmentFileTests() => _path = _directory.File("segment");

    public void Dispose() => _directory.Dispose();

    // Where the fields of the header stand: these offsets are the format of the file, so they are written out here.
    private const int Magic = 0, LayoutVersion = 8, HeaderSize = 12, LayoutHash = 16, Length = 24, MaxWorkers = 32, MaxPorts = 36,
        MaxBridges = 40, MacBucketBits = 44, Sections = 64, NeighbourBucketBits = 588, Generation = 1024, Epoch = 1088;

    [Fact]
    public void What_one_process_writes_another_finds_under_the_same_path()
    {
        using (Segment made = Segment.Create(_path, s_small))
        {
            var writer = new SegmentWriter(made);
            writer.Begin();
            writer.SetPort(3, new PortRecord { Flags = PortFlags.Default, Bridge = 2, Mtu = 1400 });
            writer.Commit();
            made.Counters(1)[3].RxPackets = 77;
            made.Macs.Learn(0x0002_0000_0000_0002, 3, 100, allowNew: true, out _);
        }
        using Segment opened = Segment.Open(_path), watcher = Segment.Open(_path, readOnly: true);
        foreach (Segment segment in (Segment[])[opened, watcher])
        {
            Assert.Equal((2ul, 2, 8, 4), (segment.Generation, segment.MaxWorkers, segment.MaxPorts, segment.MaxBridges));
            Assert.Equal(1400, segment.Port(3, segment.Generation).Mtu);
            Assert.Equal(77ul, segment.Counters(1)[3].RxPackets);
            Assert.Equal(3, Assert.Single(segment.Macs.List()).Port);
            Assert.Equal(Segment.RequiredLength(s_small), segment.Length);
        }
        opened.Counters(0)[7].TxPackets = 5;
        Assert.Equal(5ul, watcher.Counters(0)[7].TxPackets);
    }

    [Fact]
    public void The_file_is_for_its_owner_alone_and_has_all_of_its_storage()
    {
        Segment.Create(_path, s_small).Dispose();
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(_path));
        Assert.Equal(Segment.RequiredLength(s_small), (ulong)new FileInfo(_path).Length);
        // Blocks of 512 bytes: a hole would be a SIGBUS on a file system that fills up later.
        Assert.True(ulong.Parse(Shell.Run("stat", "-c", "%b", _path)) * 512 >= Segment.RequiredLength(s_small));
    }

    [Fact]
    public void A_segment_that_exists_is_not_made_again()
    {
        Segment.Create(_path, s_small).Dispose();
        byte[] before = File.ReadAllBytes(_path);
        var e = Assert.Throws<LinuxException>(() => Segment.Create(_path, s_small));
        Assert.Equal(Errno.EEXIST, e.Errno);
        Assert.Contains(_path, e.Message);
        Assert.Equal(before, File.ReadAllBytes(_path));
    }

    [Fact]
    public void Options_that_cannot_be_are_refused_before_a_file_is_made()
    {
        var e = Assert.Throws<SegmentException>(() => Segment.Create(_path, s_small with { MaxPorts = 1025, MaxWorkers = 0 }));
        Assert.Contains("MaxPorts is 1025", e.Message);
        Assert.Contains("MaxWorkers is 0", e.Message);
        Assert.False(File.Exists(_path));
    }

    [Fact]
    public void A_missing_file_is_an_error_of_the_system_which_names_it()
    {
        var e = Assert.Throws<LinuxException>(() => Segment.Open(_path));
        Assert.Equal(Errno.ENOENT, e.Errno);
        Assert.Contains(_path, e.Message);
    }

    [Theory]
    [InlineData(0, "empty")]
    [InlineData(1, "1 bytes are too few for its header")]
    [InlineData(8, "8 bytes are too few for its header")]
    [InlineData(4095, "4095 bytes are too few for its header")]
    [InlineData(4096, "it has 4096")] // the header, whole and right, and nothing of what it speaks of
    [InlineData(-4096, "its header says")] // negative: so much less than all of it
    [InlineData(-1, "its header says")]
    public void A_file_cut_short_is_refused(int length, string says)
    {
        Segment.Create(_path, s_small).Dispose();
        using (FileStream file = File.OpenWrite(_path))
        {
            file.SetLength(length >= 0 ? length : file.Length + length);
        }
        AssertRefused(says);
    }

    [Fact]
    public void A_file_may_be_longer_as_whole_huge_pages_are()
    {
        Segment.Create(_path, s_small).Dispose();
        using (FileStream file = File.OpenWrite(_path))
        {
            file.SetLength(file.Length + (2 << 20));
        }
        using Segment segment = Segment.Open(_path);
        Assert.Equal(Segment.RequiredLength(s_small), segment.Length);
    }

    [Theory]
    [InlineData("\0", "no magic number")]
    [InlineData("ELF", "no magic number")]
    [InlineData("DPLNSEG", "no magic number")]
    [InlineData("DPLNSEG2", "no magic number")]
    [InlineData("DPLNSEG1", "made by another version")] // and zeroes where the layout should stand
    public void A_file_of_something_else_is_refused(string begin, string says)
    {
        byte[] bytes = new byte[1 << 20];
        System.Text.Encoding.ASCII.GetBytes(begin).CopyTo(bytes, 0);
        File.WriteAllBytes(_path, bytes);
        AssertRefused(says);
    }

    [Theory]
    [InlineData(Magic, 0ul, 8, "no magic number")] // its maker died before the last step
    [InlineData(Magic, 0x3147_4553_4E4C_5045ul, 8, "no magic number")]
    [InlineData(Magic, 0x4450_4C4E_5345_4731ul, 8, "no magic number")] // from a machine of the other byte order
    [InlineData(LayoutVersion, 0ul, 4, "layout 0/")]
    [InlineData(LayoutVersion, 1ul, 4, "layout 1/")]
    [InlineData(LayoutVersion, 5ul, 4, "layout 5/")]
    [InlineData(LayoutVersion, 6ul, 4, "layout 6/")]
    [InlineData(LayoutVersion, 8ul, 4, "layout 8/")]
    [InlineData(LayoutVersion, 0xFFFF_FFFFul, 4, "layout 4294967295/")]
    [InlineData(LayoutHash, 0ul, 8, "/0000000000000000, this program has 7/")]
    [InlineData(LayoutHash, 0x1234ul, 8, "/0000000000001234, this program has 7/")]
    [InlineData(HeaderSize, 0ul, 4, "damaged")]
    [InlineData(HeaderSize, 8192ul, 4, "damaged")]
    [InlineData(Length, 0ul, 8, "damaged")]
    [InlineData(Length, 4096ul, 8, "damaged")]
    [InlineData(Length, ulong.MaxValue, 8, "damaged")]
    [InlineData(Length, 1ul << 63, 8, "damaged")]
    [InlineData(MaxWorkers, 0ul, 4, "damaged")]
    [InlineData(MaxWorkers, 1ul, 4, "damaged")] // possible, but not with these sections
    [InlineData(MaxWorkers, 3ul, 4, "damaged")]
    [InlineData(MaxWorkers, 65ul, 4, "damaged")]
    [InlineData(MaxWorkers, 0xFFFF_FFFFul, 4, "damaged")]
    [InlineData(MaxPorts, 0ul, 4, "damaged")]
    [InlineData(MaxPorts, 1024ul, 4, "damaged")]
    [InlineData(MaxPorts, 1025ul, 4, "damaged")]
    [InlineData(MaxPorts, 0x8000_0000ul, 4, "damaged")]
    [InlineData(MaxBridges, 1ul, 4, "damaged")]
    [InlineData(MaxBridges, 4096ul, 4, "damaged")]
    [InlineData(MaxBridges, 4097ul, 4, "damaged")]
    [InlineData(MacBucketBits, 0ul, 4, "damaged")]
    [InlineData(MacBucketBits, 3ul, 4, "damaged")]
    [InlineData(MacBucketBits, 7ul, 4, "damaged")] // possible, but not with these sections
    [InlineData(MacBucketBits, 25ul, 4, "damaged")]
    [InlineData(MacBucketBits, 26ul, 4, "damaged")] // more than any options ask for
    [InlineData(MacBucketBits, 63ul, 4, "damaged")]
    [InlineData(MacBucketBits, 0xFFFF_FFFFul, 4, "damaged")]
    [InlineData(NeighbourBucketBits, 3ul, 4, "damaged")]
    [InlineData(NeighbourBucketBits, 7ul, 4, "damaged")]
    [InlineData(NeighbourBucketBits, 24ul, 4, "damaged")]
    [InlineData(NeighbourBucketBits, 0xFFFF_FFFFul, 4, "damaged")]
    [InlineData(Sections, 0ul, 8, "damaged")] // offset of the first section: into the header
    [InlineData(Sections, 4097ul, 8, "damaged")]
    [InlineData(Sections + 8, 0ul, 8, "damaged")] // and its length
    [InlineData(Sections + 8, ulong.MaxValue, 8, "damaged")]
    [InlineData(Sections + (16 * 7), ulong.MaxValue - 4095, 8, "damaged")] // the last one
    [InlineData(Sections + (16 * 7) + 8, 4096ul, 8, "damaged")]
    [InlineData(Generation, 0ul, 8, "damaged")] // readers would see no record that was ever written
    [InlineData(Generation, ulong.MaxValue, 8, "damaged")] // and here those half written
    [InlineData(Epoch, 0ul, 8, "damaged")] // stands for "asleep": nobody would wait for a worker that announces it
    public void A_header_that_was_changed_is_refused(int offset, ulong value, int size, string says)
    {
        Segment.Create(_path, s_small).Dispose();
        byte[] bytes = File.ReadAllBytes(_path);
        byte[] was = bytes[offset..(offset + size)];
        BitConverter.GetBytes(value)[..size].CopyTo(bytes, offset);
        Assert.NotEqual(was, bytes[offset..(offset + size)]);
        File.WriteAllBytes(_path, bytes);
        AssertRefused(says);

        // Nothing but that was wrong with it.
        was.CopyTo(bytes, offset);
        File.WriteAllBytes(_path, bytes);
        Segment.Open(_path).Dispose();
    }

    [Fact]
    public void A_refused_file_is_unmapped_and_closed()
    {
        File.WriteAllBytes(_path, new byte[8192]);
        for (int i = 0; i < 3; i++)
        {
            Assert.Throws<SegmentException>(() => Segment.Open(_path));
        }
        Assert.DoesNotContain(_path, File.ReadAllText("/proc/self/maps"));
        Assert.DoesNotContain(_path, Directory.EnumerateFiles("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget));
    }

    /// <summary>With a text that a person can act on, whoever opens it and however; and the file stays as it is.</summary>
    private void AssertRefused(string says)
    {
        byte[] before = File.ReadAllBytes(_path);
        foreach (bool readOnly in (bool[])[false, true])
        {
            var e = Assert.Throws<SegmentException>(() => Segment.Open(_path, readOnly));
            Assert.StartsWith(_path, e.Message);
            Assert.Contains(says, e.Message);
            Assert.EndsWith("remove it with `dataplane clean`", e.Message);
        }
        Assert.Equal(before, File.ReadAllBytes(_path));
    }
}
