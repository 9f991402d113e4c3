namespace Dataplane.VmTests;

/// <summary>
/// Virtual functions of an SR-IOV card (Intel's 82576) behind an IOMMU: the kernel keeps the card, the switch has a part of it.
/// </summary>
public sealed class SriovTests : IAsyncLifetime
{
    private const int Physical = 0, Peer = 1;

    private Guest? _guest;

    public Task InitializeAsync() => Task.CompletedTask;

    public async Task DisposeAsync()
    {
        if (_guest is not null)
        {
            await _guest.DisposeAsync();
        }
    }

    [VmFact(Card = "igb")]
    public async Task AVirtualFunctionForwardsBesideTheKernelAndBothGoBack()
    {
        Guest guest = _guest = await Guest.StartAsync(iommu: true, new Card("igb", 0), new Card("e1000e", 0));
        string card = await guest.InterfaceOfAsync(Physical);
        await guest.AddPeerAsync("peer", Peer, "10.0.0.2/24");
        await guest.RunAsync($"ip link set {card} up");
        Assert.Contains("is up: the host uses it", await guest.RunAsync($"dataplane device vfs {card} 1", code: 1), StringComparison.Ordinal);
        await guest.RunAsync($"dataplane device vfs --force {card} 1");
        string part = Path.GetFileName((await guest.RunAsync($"readlink /sys/bus/pci/devices/{Guest.AddressOf(Physical)}/virtfn0")).Trim());
        await guest.RunAsync($"ip link set {card} vf 0 mac 52:54:00:00:01:01 && ip addr add 10.0.0.3/24 dev {card}");

        await guest.StartSwitchAsync($$"""
            ports:
            - name: uplink
              routed: {addresses: [10.0.0.1/24], mac: "52:54:00:00:01:01"}
              dpdk: {devargs: "{{part}}", bind: true}
            """);
        await guest.PingAsync("peer", "10.0.0.1"); // answered by the switch, over the wire
        await guest.PingAsync("peer", "10.0.0.3"); // the kernel has the card as before

        await guest.StopSwitchAsync();
        Assert.Equal("", (await guest.RunAsync($"ls -d /sys/bus/pci/devices/{part} 2>/dev/null || true")).Trim());
        Assert.Equal("igb", await guest.DriverOfAsync(Physical));
        await guest.PingAsync("peer", "10.0.0.3");
    }
}
