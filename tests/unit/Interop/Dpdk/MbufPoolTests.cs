using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

[Collection(EalFixture.Collection)]
public sealed unsafe class MbufPoolTests(EalFixture eal)
{
    [Fact]
    public void BulkAllocationIsAllOrNothing()
    {
        using var pool = MbufPool.Create(eal.UniqueName("pool"), 63, cache: 0);
        var mbufs = stackalloc rte_mbuf*[64];
        mbufs[0] = (rte_mbuf*)1;

        Assert.False(pool.Allocate(mbufs, 64));
        Assert.True(mbufs[0] == (rte_mbuf*)1);
        Assert.True(pool.Allocate(mbufs, 63));
        Assert.Equal(0, pool.Available);
        Assert.True(pool.Allocate() == null);
        Assert.True(pool.Allocate([1, 2, 3]) == null);

        Shim.dps_mbuf_free_bulk(mbufs, 63);
        Assert.Equal(63, pool.Available);
        Assert.Equal(63, pool.Size);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void BuffersComeReset(bool registered)
    {
        EalTests.OnNewThread(() =>
        {
            if (registered) Eal.RegisterThread();
            using var pool = MbufPool.Create(eal.UniqueName("pool"), 255, cache: 32, privateSize: 64);
            var mbufs = stackalloc rte_mbuf*[32];
            // Twice, so that the second time the buffers come used, and from the thread's cache if it has one.
            for (var round = 0; round < 2; round++)
            {
                Assert.True(pool.Allocate(mbufs, 32));
                for (var i = 0; i < 32; i++)
                {
                    var mbuf = mbufs[i];
                    Assert.Equal(Mbuf.DefaultHeadroom, mbuf->data_off);
                    Assert.Equal(MbufPool.DefaultDataRoom, mbuf->buf_len);
                    Assert.Equal((1, 1, 0, 0u, 0UL), (mbuf->refcnt, mbuf->nb_segs, mbuf->data_len, mbuf->pkt_len, mbuf->ol_flags));
                    Assert.True(mbuf->next == null && mbuf->pool == pool.Pointer);
                    Assert.Equal(64, mbuf->priv_size);
                    Assert.True(Mbuf.Private(mbuf) == Shim.dps_mbuf_private(mbuf));
                    Assert.True(Mbuf.IsWritable(mbuf));
                    Mbuf.Append(mbuf, 100);
                    Mbuf.Prepend(mbuf, 20);
                    mbuf->ol_flags = Rte.RTE_MBUF_F_TX_TCP_SEG;
                }
                Shim.dps_mbuf_free_bulk(mbufs, 32);
            }
            Assert.Equal(255, pool.Available);
            if (registered) Eal.UnregisterThread();
        });
    }

    [Fact]
    public void ABufferIsFreeOnlyAfterItsLastReference()
    {
        using var pool = MbufPool.Create(eal.UniqueName("pool"), 31, cache: 0, dataRoom: Mbuf.DefaultHeadroom + 64);
        var packet = pool.Allocate(Bytes(100));
        Assert.Equal(29, pool.Available);

        Shim.dps_mbuf_ref(packet, 2);
        Assert.Equal(3, Shim.dps_mbuf_refcnt(packet));
        Assert.Equal(3, Shim.dps_mbuf_refcnt(packet->next));
        Assert.False(Mbuf.IsWritable(packet));
        Shim.dps_mbuf_free(packet);
        Shim.dps_mbuf_free(packet);
        Assert.Equal(29, pool.Available);
        Assert.Equal(Bytes(100), Mbuf.ToArray(packet));
        Shim.dps_mbuf_free(packet);
        Assert.Equal(31, pool.Available);
    }

    [Fact]
    public void ACopyIsDeepAndTakesAPart()
    {
        using var pool = MbufPool.Create(eal.UniqueName("pool"), 31, cache: 0, dataRoom: Mbuf.DefaultHeadroom + 64);
        var packet = pool.Allocate(Bytes(150));

        var whole = Shim.dps_mbuf_copy(packet, pool.Pointer, 0, uint.MaxValue);
        var part = Shim.dps_mbuf_copy(packet, pool.Pointer, 60, 10);
        *Mbuf.Data(packet) = 99;

        Assert.Equal(Bytes(150), Mbuf.ToArray(whole));
        Assert.Equal(Bytes(150)[60..70], Mbuf.ToArray(part));
        Assert.True(Shim.dps_mbuf_copy(packet, pool.Pointer, 151, 1) == null);
        foreach (var mbuf in (ReadOnlySpan<nint>)[(nint)packet, (nint)whole, (nint)part]) Shim.dps_mbuf_free((rte_mbuf*)mbuf);
        Assert.Equal(31, pool.Available);
    }

    [Fact]
    public void TheCheckFindsAChainThatContradictsItself()
    {
        using var pool = MbufPool.Create(eal.UniqueName("pool"), 31, cache: 0, dataRoom: Mbuf.DefaultHeadroom + 64);
        var packet = pool.Allocate(Bytes(100));
        byte* reason;
        Assert.Equal(0, Shim.dps_mbuf_check(packet, &reason));

        packet->pkt_len++;
        Assert.Equal(-1, Shim.dps_mbuf_check(packet, &reason));
        Assert.Equal("bad pkt_len", NativeText.From(reason));
        packet->pkt_len--;
        Shim.dps_mbuf_free(packet);
    }

    [Fact]
    public void ANameHas25Characters()
    {
        const int Count = 31;
        using var pool = MbufPool.Create(eal.UniqueName("pool").PadRight(25, 'x')[..25], Count, cache: 0, privateSize: 64);
        var mbufs = stackalloc rte_mbuf*[Count];
        Assert.True(pool.Allocate(mbufs, Count));
        for (int i = 0; i < Count; i++)
        {
            Assert.Equal((ulong)(nint)mbufs[i]->buf_addr, mbufs[i]->buf_iova); // devices know virtual addresses
            Shim.dps_mbuf_free(mbufs[i]);
        }
    }

    [Fact]
    public void FailuresSayWhy()
    {
        var name = eal.UniqueName("pool");
        using var pool = MbufPool.Create(name, 31, cache: 0);

        Assert.Contains("taken", Assert.Throws<DpdkException>(() => MbufPool.Create(name, 31, cache: 0)).Message);
        Assert.Contains("MiB", Assert.Throws<DpdkException>(() => MbufPool.Create(eal.UniqueName("pool"), 1 << 20)).Message);
        Assert.Contains("cache", Assert.Throws<DpdkException>(() => MbufPool.Create(eal.UniqueName("pool"), 31, cache: 513)).Message);
        Assert.Contains("25", Assert.Throws<DpdkException>(() => MbufPool.Create(new string('x', 30), 31, cache: 0)).Message);
        Assert.Throws<ArgumentOutOfRangeException>(() => MbufPool.Create("x", 31, dataRoom: 65536));
        Assert.Throws<ArgumentOutOfRangeException>(() => MbufPool.Create("x", 0));
    }

    [Fact]
    public void ADisposedPoolIsRefusedAndItsNameFree()
    {
        var name = eal.UniqueName("pool");
        var pool = MbufPool.Create(name, 31, cache: 0);
        pool.Dispose();
        pool.Dispose();

        Assert.Throws<ObjectDisposedException>(() => pool.Allocate() == null);
        MbufPool.Create(name, 31, cache: 0).Dispose();
    }

    [Fact]
    public void TheLongestNameIsAccepted() => MbufPool.Create(new string('n', 25), 31, cache: 0).Dispose();

    internal static byte[] Bytes(int count) => [.. Enumerable.Range(0, count).Select(i => (byte)i)];
}
