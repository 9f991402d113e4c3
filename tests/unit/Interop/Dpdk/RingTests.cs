using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

[Collection(EalFixture.Collection)]
public sealed unsafe class RingTests(EalFixture eal)
{
    [Fact]
    public void ARingKeepsOrderAndHoldsOneLessThanItsCount()
    {
        var name = eal.UniqueName("ring");
        using var ring = Ring.Create(name, 8);
        var objects = stackalloc void*[8];
        for (var i = 0; i < 8; i++) objects[i] = (void*)(i + 1);

        Assert.Equal(7, ring.Enqueue(objects, 8));
        Assert.Equal(7, ring.Count);
        Assert.Equal(0, ring.Enqueue(objects, 1));
        Assert.Equal(4, ring.Dequeue(objects, 4));
        Assert.True(objects[0] == (void*)1 && objects[3] == (void*)4);
        Assert.Equal(3, ring.Dequeue(objects, 8));
        Assert.True(objects[0] == (void*)5 && objects[2] == (void*)7);
        Assert.Equal(0, ring.Dequeue(objects, 8));
        fixed (byte* text = NativeText.Terminated(name)) Assert.True(Shim.dps_ring_lookup(text) == ring.Pointer);
    }

    [Fact]
    public void TwoThreadsExchangeEveryPointerOnce()
    {
        const int total = 200_000;
        using var ring = Ring.Create(eal.UniqueName("ring"), 256, singleProducer: true, singleConsumer: true);
        var producer = new Thread(() =>
        {
            var objects = stackalloc void*[32];
            for (var sent = 0; sent < total;)
            {
                var count = Math.Min(32, total - sent);
                for (var i = 0; i < count; i++) objects[i] = (void*)(sent + i + 1);
                var taken = ring.Enqueue(objects, count);
                if (taken == 0) Thread.Yield();
                sent += taken;
            }
        });
        producer.Start();

        var received = stackalloc void*[32];
        var expected = 1;
        while (expected <= total)
        {
            var count = ring.Dequeue(received, 32);
            if (count == 0) Thread.Yield();
            for (var i = 0; i < count; i++) Assert.Equal(expected++, (nint)received[i]);
        }
        producer.Join();
        Assert.Equal(0, ring.Count);
    }

    [Fact]
    public void FailuresSayWhy()
    {
        var name = eal.UniqueName("ring");
        using var ring = Ring.Create(name, 8);

        Assert.Contains("taken", Assert.Throws<DpdkException>(() => Ring.Create(name, 8)).Message);
        Assert.Contains("power of two", Assert.Throws<DpdkException>(() => Ring.Create(eal.UniqueName("ring"), 7)).Message);
        Assert.Contains("28", Assert.Throws<DpdkException>(() => Ring.Create(new string('x', 40), 8)).Message);
    }

    [Fact]
    public void TheLongestNameIsAccepted() => Ring.Create(new string('n', 28), 8).Dispose();
}
