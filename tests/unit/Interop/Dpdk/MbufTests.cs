using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

[Collection(EalFixture.Collection)]
public sealed unsafe class MbufTests : IDisposable
{
    private const int Room = 64;

    private readonly MbufPool pool;

    public MbufTests(EalFixture eal) =>
        pool = MbufPool.Create(eal.UniqueName("mbuf"), 31, cache: 0, dataRoom: Mbuf.DefaultHeadroom + Room);

    public void Dispose()
    {
        var free = pool.Available;
        pool.Dispose();
        Assert.Equal(31, free);
    }

    [Fact]
    public void PrependTakesHeadroomToTheLastByte()
    {
        var packet = pool.Allocate([1, 2, 3]);
        var data = Mbuf.Data(packet);

        Assert.True(Mbuf.Prepend(packet, Mbuf.DefaultHeadroom + 1) == null);
        Assert.True(Mbuf.Prepend(packet, -1) == null);
        AssertLengths(packet, 3);
        Assert.True(Mbuf.Prepend(packet, Mbuf.DefaultHeadroom) == data - Mbuf.DefaultHeadroom);
        AssertLengths(packet, Mbuf.DefaultHeadroom + 3);
        Assert.Equal(0, Mbuf.Headroom(packet));
        Assert.True(Mbuf.Prepend(packet, 1) == null);
        Assert.True(Mbuf.Prepend(packet, 0) == packet->buf_addr);
        Shim.dps_mbuf_free(packet);
    }

    [Fact]
    public void AdjustTakesDataToTheLastByte()
    {
        var packet = pool.Allocate([1, 2, 3]);

        Assert.True(Mbuf.Adjust(packet, 4) == null);
        Assert.True(Mbuf.Adjust(packet, -1) == null);
        Assert.Equal(2, *Mbuf.Adjust(packet, 1));
        AssertLengths(packet, 2);
        Assert.True(Mbuf.Adjust(packet, 2) != null);
        AssertLengths(packet, 0);
        Shim.dps_mbuf_free(packet);
    }

    [Fact]
    public void AppendAndTrimWorkOnTheLastBuffer()
    {
        var packet = pool.Allocate(MbufPoolTests.Bytes(Room + 10));
        Assert.True(Mbuf.IsChained(packet));
        Assert.Equal(Room - 10, Mbuf.Tailroom(Mbuf.Last(packet)));
        Assert.Equal(0, Mbuf.Tailroom(packet));

        Assert.True(Mbuf.Append(packet, Room - 9) == null);
        Assert.True(Mbuf.Append(packet, -1) == null);
        AssertLengths(packet, Room + 10);
        var added = Mbuf.Append(packet, Room - 10);
        Assert.True(added == Mbuf.Data(packet->next) + 10);
        AssertLengths(packet, 2 * Room);

        Assert.False(Mbuf.Trim(packet, Room + 1));
        Assert.False(Mbuf.Trim(packet, -1));
        Assert.True(Mbuf.Trim(packet, Room));
        AssertLengths(packet, Room);
        Shim.dps_mbuf_free(packet);
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(0, 150)]
    [InlineData(63, 2)]
    [InlineData(64, 64)]
    [InlineData(128, 22)]
    [InlineData(150, 0)]
    [InlineData(149, 1)]
    public void ReadCrossesBuffers(int offset, int length)
    {
        var packet = pool.Allocate(MbufPoolTests.Bytes(150));
        var bytes = new byte[length];

        Assert.True(Mbuf.Read(packet, offset, bytes));
        Assert.Equal(MbufPoolTests.Bytes(150)[offset..(offset + length)], bytes);
        Shim.dps_mbuf_free(packet);
    }

    [Theory]
    [InlineData(0, 151)]
    [InlineData(150, 1)]
    [InlineData(151, 0)]
    [InlineData(-1, 1)]
    [InlineData(int.MaxValue, 1)]
    public void ReadBeyondTheEndCopiesNothing(int offset, int length)
    {
        var packet = pool.Allocate(MbufPoolTests.Bytes(150));
        var bytes = new byte[length];

        Assert.False(Mbuf.Read(packet, offset, bytes));
        Assert.All(bytes, value => Assert.Equal(0, value));
        Shim.dps_mbuf_free(packet);
    }

    [Fact]
    public void ReadStopsAtTheEndOfAChainShorterThanItsLength()
    {
        var packet = pool.Allocate(MbufPoolTests.Bytes(100));
        packet->pkt_len = 1000;
        Assert.False(Mbuf.Read(packet, 0, new byte[101]));
        Assert.False(Mbuf.Read(packet, 500, new byte[1]));
        packet->pkt_len = 100;
        Shim.dps_mbuf_free(packet);
    }

    [Fact]
    public void AnEmptyPacketIsOneBuffer()
    {
        var packet = pool.Allocate(ReadOnlySpan<byte>.Empty);
        AssertLengths(packet, 0);
        Assert.False(Mbuf.IsChained(packet));
        Shim.dps_mbuf_free(packet);
    }

    private static void AssertLengths(rte_mbuf* packet, int length)
    {
        byte* reason;
        Assert.Equal((uint)length, packet->pkt_len);
        Assert.True(Shim.dps_mbuf_check(packet, &reason) == 0, NativeText.From(reason));
    }
}
