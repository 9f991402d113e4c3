using System.Runtime.Versioning;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

[SupportedOSPlatform("linux")]
public sealed unsafe class NumaMemoryTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Memory_goes_where_it_is_put_for_all_that_map_the_file()
    {
        string path = _directory.File("segment");
        using SharedMemory memory = SharedMemory.Create(path, 1 << 20, UnixFileMode.UserRead | UnixFileMode.UserWrite, MemoryOptions.Populate);
        Assert.Empty(NumaMemory.PlaceOf(memory.Pointer));
        int[] nodes = [.. NumaMemory.Nodes];
        Assert.NotEmpty(nodes);
        NumaMemory.Place(memory.Pointer, memory.Length, [nodes[^1]]);
        using SharedMemory other = SharedMemory.Open(path, readOnly: true);
        Assert.Equal([nodes[^1]], NumaMemory.PlaceOf(memory.Pointer + (1 << 19)));
        NumaMemory.Place(memory.Pointer, memory.Length, nodes);
        Assert.Equal(nodes, NumaMemory.PlaceOf(memory.Pointer));
        memory.Pointer[0] = 7;
        Assert.Equal(7, other.Pointer[0]);
    }

    [Fact]
    public void A_node_that_does_not_exist_is_named()
    {
        using SharedMemory memory = SharedMemory.CreatePrivate(1 << 20, alignment: 4096);
        LinuxException e = Assert.Throws<LinuxException>(() => NumaMemory.Place(memory.Pointer, memory.Length, [1023]));
        Assert.Contains("NUMA node 1023", e.Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => NumaMemory.Place(memory.Pointer, memory.Length, [-1]));
        Assert.Contains("NUMA node 1023", Assert.Throws<LinuxException>(() => NumaMemory.TakeFrom([1023]).Dispose()).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => NumaMemory.TakeFrom([-1]).Dispose());
    }
}
