using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

public sealed class LinkMonitorTests : IDisposable
{
    private readonly TestNamespace _test = new();

    public void Dispose() => _test.Dispose();

    [RootFact]
    public void Sees_a_tap_come_and_go()
    {
        using LinkMonitor monitor = LinkMonitor.Open(_test.Ns);
        Assert.False(monitor.TryRead(out _));
        using (Tap tap = Tap.Create("dptap0", ns: _test.Ns))
        {
            Assert.True(monitor.TryRead(out LinkEvent created));
            Assert.Equal((LinkEventKind.Changed, "dptap0", "tun"), (created.Kind, created.Link!.Name, created.Link.Kind));
        }
        LinkEvent last = default;
        while (monitor.TryRead(out LinkEvent next))
            last = next;
        Assert.Equal((LinkEventKind.Removed, "dptap0"), (last.Kind, last.Link!.Name));
    }

    [RootFact]
    public void A_port_that_leaves_its_bridge_is_not_removed()
    {
        using Netlink net = Netlink.Open(_test.Ns);
        net.CreateBridge("dpbr0");
        net.CreateVeth("dpd0", "dpd1");
        int port = net.GetLink("dpd0").Index;
        net.SetMaster(port, net.GetLink("dpbr0").Index);
        using LinkMonitor monitor = LinkMonitor.Open(_test.Ns);
        net.SetMaster(port, 0);
        int events = 0;
        while (monitor.TryRead(out LinkEvent next))
        {
            Assert.Equal(LinkEventKind.Changed, next.Kind);
            events++;
        }
        Assert.NotEqual(0, events);
    }

    [RootFact]
    public void A_device_that_moves_away_is_removed()
    {
        using var other = new TestNamespace();
        using Netlink net = Netlink.Open(_test.Ns);
        net.CreateVeth("dpd0", "dpd1");
        using LinkMonitor monitor = LinkMonitor.Open(_test.Ns);
        net.MoveTo(net.GetLink("dpd0").Index, other.Ns);
        var kinds = new List<LinkEventKind>();
        while (monitor.TryRead(out LinkEvent next))
            kinds.Add(next.Kind);
        Assert.Contains(LinkEventKind.Removed, kinds);
    }

    [RootFact]
    public void Too_many_events_are_reported_as_an_overrun()
    {
        using Netlink net = Netlink.Open(_test.Ns);
        net.CreateVeth("dpd0", "dpd1");
        int index = net.GetLink("dpd0").Index;
        using LinkMonitor monitor = LinkMonitor.Open(_test.Ns);
        // The socket holds 1 MiB at least, and an event counts for more than a KiB.
        for (int i = 0; i < 4000; i++)
            net.SetMtu(index, 1400 + i % 2);
        var kinds = new List<LinkEventKind>();
        while (monitor.TryRead(out LinkEvent next))
            kinds.Add(next.Kind);
        Assert.Contains(LinkEventKind.Overrun, kinds);
        net.SetMtu(index, 9000);
        Assert.True(monitor.TryRead(out LinkEvent later));
        Assert.Equal(9000, later.Link!.Mtu);
    }

    [RootFact]
    public async Task Events_can_be_awaited()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        using Netlink net = Netlink.Open(_test.Ns);
        using LinkMonitor monitor = LinkMonitor.Open(_test.Ns);
        await using IAsyncEnumerator<LinkEvent> events = monitor.ReadAllAsync(limit.Token).GetAsyncEnumerator();
        ValueTask<bool> first = events.MoveNextAsync();
        Assert.False(first.IsCompleted);
        net.CreateBridge("dpbr0");
        Assert.True(await first);
        Assert.Equal("dpbr0", events.Current.Link!.Name);
    }

    [RootFact]
    public async Task Awaiting_can_be_cancelled()
    {
        using var cancel = new CancellationTokenSource();
        using LinkMonitor monitor = LinkMonitor.Open(_test.Ns);
        await using IAsyncEnumerator<LinkEvent> events = monitor.ReadAllAsync(cancel.Token).GetAsyncEnumerator();
        ValueTask<bool> first = events.MoveNextAsync();
        cancel.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () => await first);
    }
}
