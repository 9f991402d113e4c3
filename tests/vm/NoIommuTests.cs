namespace Dataplane.VmTests;

/// <summary>Cards of a machine without an IOMMU, which the operator binds to uio_pci_generic: Debian's vfio-pci has no mode for that.</summary>
public sealed class NoIommuTests : IAsyncLifetime
{
    private const int First = 0, Second = 1, FirstPeer = 2, SecondPeer = 3;

    private static readonly string Switch = $$"""
        networks:
        - name: blue
          subnets: [10.0.0.0/24]
        ports:
        - name: host
          network: blue
          tap: {host: true, addresses: [10.0.0.1/24]}
        - name: first
          network: blue
          dpdk: {devargs: "{{Guest.AddressOf(First)}}"}
        - name: second
          network: blue
          dpdk: {devargs: "{{Guest.AddressOf(Second)}}"}
        """;

    private Guest _guest = null!;

    public async Task InitializeAsync()
    {
        if (Guest.Files is not null)
        {
            _guest = await Guest.StartAsync(iommu: false, new Card("e1000", 0), new Card("virtio-net-pci", 1), new Card("e1000e", 0), new Card("e1000e", 1));
        }
    }

    public async Task DisposeAsync()
    {
        if (_guest is not null)
        {
            await _guest.DisposeAsync();
        }
    }

    [VmFact]
    public async Task TwoCardsForwardBetweenEachOtherAndTheHost()
    {
        await _guest.AddPeerAsync("a", FirstPeer, "10.0.0.2/24");
        await _guest.AddPeerAsync("b", SecondPeer, "10.0.0.3/24");
        string refused = await _guest.RunAsync($"dataplane device bind {Guest.AddressOf(First)}", code: 1);
        Assert.Contains("is behind no IOMMU", refused, StringComparison.Ordinal);
        Assert.DoesNotContain("enable_unsafe_noiommu_mode", refused, StringComparison.Ordinal);
        Assert.Equal("e1000", await _guest.DriverOfAsync(First));

        await _guest.RunAsync($"dataplane device bind --driver uio_pci_generic {Guest.AddressOf(First)} {await _guest.InterfaceOfAsync(Second)}");
        await _guest.StartSwitchAsync(Switch);
        Assert.Equal(("uio_pci_generic", "uio_pci_generic"), (await _guest.DriverOfAsync(First), await _guest.DriverOfAsync(Second)));
        await _guest.PingAsync("a", "10.0.0.1");
        await _guest.PingAsync("b", "10.0.0.1");
        await _guest.PingAsync("a", "10.0.0.3");

        await _guest.StopSwitchAsync();
        Assert.Equal(("e1000", "virtio-pci"), (await _guest.DriverOfAsync(First), await _guest.DriverOfAsync(Second)));
        await _guest.RunAsync($"ip addr add 10.0.0.9/24 dev {await _guest.InterfaceOfAsync(Second)} && ip link set {await _guest.InterfaceOfAsync(Second)} up");
        await _guest.PingAsync("b", "10.0.0.9");
    }
}
