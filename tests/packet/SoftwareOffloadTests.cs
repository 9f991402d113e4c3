using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Packets;
using Dataplane.PacketTests.Harness;

namespace Dataplane.PacketTests;

/// <summary>
/// The software behind the offloads by itself: what becomes of the packet and of the buffers at its limits. What comes out on the
/// wire is the matter of <see cref="OffloadTests"/>.
/// </summary>
public sealed unsafe class SoftwareOffloadTests : IDisposable
{
    private static int s_serial;

    private readonly MbufPool _small, _large;

    public SoftwareOffloadTests()
    {
        Harness.Eal.Require();
        int serial = Interlocked.Increment(ref s_serial);
        _small = MbufPool.Create($"so-small{serial}", 63, cache: 0, privateSize: PacketMeta.SizeInBytes, dataRoom: 2048 + Mbuf.DefaultHeadroom);
        _large = MbufPool.Create($"so-large{serial}", 7, cache: 0, privateSize: PacketMeta.SizeInBytes, dataRoom: ushort.MaxValue);
    }

    public void Dispose()
    {
        (int small, int large) = (_small.Available, _large.Available);
        _small.Dispose();
        _large.Dispose();
        Assert.Equal((63, 7), (small, large));
    }

    private rte_mbuf* Make(Unfinished packet, int firstBuffer = int.MaxValue)
    {
        rte_mbuf* mbuf = MbufCopy.FromBytes(packet.Frame, _small, _large, firstBuffer);
        Assert.True(mbuf != null);
        Assert.True(Offload.Accept(mbuf, packet.Vnet));
        return mbuf;
    }

    private (OffloadResult Result, List<byte[]> Frames) Segment(rte_mbuf* mbuf, int capacity = 64)
    {
        rte_mbuf** segments = stackalloc rte_mbuf*[capacity];
        OffloadResult result = SoftwareOffload.Segment(mbuf, _small, _large, segments, capacity, out int count);
        var frames = new List<byte[]>();
        for (int i = 0; i < count; i++)
        {
            Assert.False(Offload.IsPending(segments[i]));
            Assert.Equal(mbuf->port, segments[i]->port);
            frames.Add(MbufCopy.ToBytes(segments[i]));
            Shim.dps_mbuf_free(segments[i]);
        }
        return (result, frames);
    }

    [Theory]
    [InlineData(int.MaxValue)]
    [InlineData(100)]
    public void ThePacketItselfStaysAsItIs(int firstBuffer)
    {
        Unfinished packet = Inet.Tcp(5000, 1000, flags: Inet.Ack | Inet.Psh | Inet.Fin);
        rte_mbuf* mbuf = Make(packet, firstBuffer);
        mbuf->port = 7;
        // Twice: others may hold the packet and have it cut for themselves.
        for (int i = 0; i < 2; i++)
        {
            (OffloadResult result, List<byte[]> frames) = Segment(mbuf);
            Assert.Equal(OffloadResult.Done, result);
            Assert.Equal(Reference.Cut(packet), frames);
            Assert.Equal(packet.Frame, MbufCopy.ToBytes(mbuf));
            Assert.True(Offload.IsPending(mbuf));
        }
        Shim.dps_mbuf_free(mbuf);
    }

    [Theory]
    [InlineData(10, 10, OffloadResult.Done)]
    [InlineData(10, 9, OffloadResult.Invalid)]
    [InlineData(1, 1, OffloadResult.Done)]
    [InlineData(1, 0, OffloadResult.Invalid)]
    public void ThereAreNoMoreSegmentsThanThereIsRoomFor(int segments, int capacity, OffloadResult expected)
    {
        rte_mbuf* mbuf = Make(Inet.Udp((100 * segments) - 1, 100));
        (OffloadResult result, List<byte[]> frames) = Segment(mbuf, capacity);
        Assert.Equal((expected, expected == OffloadResult.Done ? segments : 0), (result, frames.Count));
        Shim.dps_mbuf_free(mbuf);
    }

    [Theory]
    [InlineData(0, OffloadResult.NoBuffer)]
    [InlineData(9, OffloadResult.NoBuffer)]
    [InlineData(10, OffloadResult.Done)]
    public void ThereAreAllOrNoBuffers(int left, OffloadResult expected)
    {
        rte_mbuf* mbuf = Make(Inet.Tcp(1000, 100));
        using (Hoard.AllBut(_small, left))
        {
            Assert.Equal(expected, Segment(mbuf).Result);
            Assert.Equal(left, _small.Available);
        }
        Shim.dps_mbuf_free(mbuf);
    }

    [Theory]
    [InlineData(1994, true)] // Ethernet 14, IPv4 20, TCP 20: 2,048 in all
    [InlineData(1995, false)]
    public void ASegmentThatFillsASmallBufferNeedsNoLargeOne(int mss, bool fits)
    {
        Unfinished packet = Inet.Tcp(2 * mss, mss);
        rte_mbuf* mbuf = Make(packet);
        using (Hoard.All(_large))
        {
            Assert.Equal(fits ? OffloadResult.Done : OffloadResult.NoBuffer, Segment(mbuf).Result);
        }
        (OffloadResult result, List<byte[]> frames) = Segment(mbuf);
        Assert.Equal(OffloadResult.Done, result);
        Assert.Equal(Reference.Cut(packet), frames);
        Shim.dps_mbuf_free(mbuf);
    }

    [Theory]
    [InlineData(34 + 18)] // all of the field
    [InlineData(34 + 40)]
    [InlineData(int.MaxValue)]
    public void AChecksumIsCompletedWhereItsFieldLiesInTheFirstBuffer(int firstBuffer)
    {
        Unfinished packet = Inet.Tcp(60);
        rte_mbuf* mbuf = Make(packet, firstBuffer);
        Assert.Equal(OffloadResult.Done, SoftwareOffload.CompleteChecksum(mbuf));
        Assert.False(Offload.IsPending(mbuf));
        Assert.Equal(Reference.Finish(packet), MbufCopy.ToBytes(mbuf));
        Shim.dps_mbuf_free(mbuf);
    }

    [Theory]
    [InlineData(34 + 17)] // half of the field
    [InlineData(34)]
    [InlineData(14)]
    public void AndElseThePacketStaysAsItIs(int firstBuffer)
    {
        Unfinished packet = Inet.Tcp(60);
        rte_mbuf* mbuf = Make(packet, firstBuffer);
        Assert.Equal(OffloadResult.Invalid, SoftwareOffload.CompleteChecksum(mbuf));
        Assert.True(Offload.IsPending(mbuf));
        Assert.Equal(packet.Frame, MbufCopy.ToBytes(mbuf));
        Shim.dps_mbuf_free(mbuf);
    }

    [Theory]
    [InlineData(true, 0xFFFF)] // a UDP checksum of zero means "none" (RFC 768)
    [InlineData(false, 0x0000)]
    public void AChecksumOfZero(bool udp, int written)
    {
        Unfinished packet = udp ? Inet.Udp(4) : Inet.Tcp(4);
        // The last two bytes make up for all the others.
        byte[] frame = packet.Frame;
        frame.AsSpan(^2).Clear();
        int field = packet.Vnet.csum_start + packet.Vnet.csum_offset;
        ushort rest = Reference.Checksum(frame.AsSpan(packet.Vnet.csum_start));
        (frame[^2], frame[^1]) = ((byte)(rest >> 8), (byte)rest);
        rte_mbuf* mbuf = Make(packet);
        Assert.Equal(OffloadResult.Done, SoftwareOffload.CompleteChecksum(mbuf));
        byte[] done = MbufCopy.ToBytes(mbuf);
        Assert.Equal(written, (done[field] << 8) | done[field + 1]);
        Shim.dps_mbuf_free(mbuf);
    }

    [Fact]
    public void HeadersThatGrowOrShrinkTakeTheRequestWithThem()
    {
        rte_mbuf* whole = Make(Inet.Tcp(2000, 500)), checksum = Make(Inet.Tcp(60)), plain = MbufCopy.FromBytes(Frame.Of(Frame.B, Frame.A), _small, _large);
        foreach (nint mbuf in (nint[])[(nint)whole, (nint)checksum, (nint)plain])
        {
            Offload.Shift((rte_mbuf*)mbuf, 4);
        }
        virtio_net_hdr first = Offload.Meta(whole)->Vnet, second = Offload.Meta(checksum)->Vnet;
        Assert.Equal((38, 58), (first.csum_start, first.hdr_len));
        Assert.Equal((38, 0), (second.csum_start, second.hdr_len)); // a length that was not given stays so
        Assert.False(Offload.IsPending(plain));
        Offload.Shift(whole, -4);
        Assert.Equal(Inet.Tcp(2000, 500).Vnet, Offload.Meta(whole)->Vnet);
        foreach (nint mbuf in (nint[])[(nint)whole, (nint)checksum, (nint)plain])
        {
            Shim.dps_mbuf_free((rte_mbuf*)mbuf);
        }
    }

    [Fact]
    public void ACopyHasTheWorkOfItsOriginalAndNoOther()
    {
        rte_mbuf* pending = Make(Inet.Tcp(2000, 500)), plain = MbufCopy.FromBytes(Frame.Of(Frame.B, Frame.A), _small, _large);
        rte_mbuf* copy = MbufCopy.Deep(pending, _small, _large);
        Assert.Equal(Offload.ChecksumFlag | Offload.SegmentFlag, copy->ol_flags & Offload.PendingMask);
        Assert.Equal(Offload.Meta(pending)->Vnet, Offload.Meta(copy)->Vnet);
        Offload.Copy(plain, copy);
        Assert.False(Offload.IsPending(copy));
        foreach (nint mbuf in (nint[])[(nint)pending, (nint)plain, (nint)copy])
        {
            Shim.dps_mbuf_free((rte_mbuf*)mbuf);
        }
    }
}
