using System.Text.Json;

namespace Dataplane.VmTests;

/// <summary>
/// A card behind an IOMMU, by way of vfio-pci, which a port takes from the kernel (<c>dpdk.bind</c>): as on bare metal. The
/// other end of its wire is a card that the kernel keeps, in a namespace.
/// </summary>
public sealed class VfioTests : IAsyncLifetime
{
    private const int Nic = 0, Peer = 1;

    private static readonly string Switch = $$"""
        networks:
        - name: blue
          subnets: [10.0.0.0/24]
        ports:
        - name: host
          network: blue
          tap: {host: true, addresses: [10.0.0.1/24]}
        - name: nic
          network: blue
          dpdk: {devargs: "{{Guest.AddressOf(Nic)}}", bind: true}
        """;

    private Guest _guest = null!;

    public async Task InitializeAsync()
    {
        if (Guest.Files is not null)
        {
            _guest = await Guest.StartAsync(iommu: true, new Card("e1000e", 0), new Card("e1000e", 0));
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
    public async Task ACardForwardsThroughCrashesAndGoesBackToTheKernel()
    {
        await _guest.AddPeerAsync("peer", Peer, "10.0.0.2/24");
        await _guest.StartSwitchAsync(Switch);
        Assert.Equal("vfio-pci", await _guest.DriverOfAsync(Nic));
        await _guest.PingAsync("peer", "10.0.0.1");
        await _guest.PingAsync(null, "10.0.0.2");

        await _guest.KillAsync(control: false, engine: true); // it is started again, and given the card
        await _guest.PingAsync("peer", "10.0.0.1");

        await _guest.KillAsync(control: true, engine: false);
        await _guest.PingAsync("peer", "10.0.0.1");
        Assert.Contains("is in use by process", await _guest.RunAsync($"dataplane device unbind {Guest.AddressOf(Nic)}", code: 1), StringComparison.Ordinal);

        await _guest.StartSwitchAsync(Switch); // takes the engine over, with what is to be given back
        await _guest.PingAsync("peer", "10.0.0.1");
        await _guest.StopSwitchAsync();
        await TheKernelHasItAgain();
    }

    [VmFact]
    public async Task WhenBothProcessesAreKilledTheNextGivesTheCardBack()
    {
        await _guest.AddPeerAsync("peer", Peer, "10.0.0.2/24");
        await _guest.StartSwitchAsync(Switch);
        await _guest.PingAsync("peer", "10.0.0.1");
        await _guest.KillAsync(control: true, engine: true);
        Assert.Equal("vfio-pci", await _guest.DriverOfAsync(Nic));
        // Nobody has told the card to stop, and this one cannot be reset from outside. It works on with the first packet once the kernel lets it,
        // which the IOMMU forbids, and the emulated card then ends with an assertion (e1000e_intrmgr_on_throttling_timer) about an interrupt from before.
        await _guest.SetPeerAsync("peer", isUp: false);

        Assert.Contains("give devices back with: dataplane clean", await _guest.RunAsync("dataplane stop", code: 3), StringComparison.Ordinal);
        Assert.Contains($"{Guest.AddressOf(Nic)} is given back to e1000e", await _guest.RunAsync("dataplane clean"), StringComparison.Ordinal);
        await _guest.SetPeerAsync("peer", isUp: true);
        await TheKernelHasItAgain();
    }

    [VmFact]
    public async Task WhatIsMissingIsMendedByTheCommandsOfTheDoctor()
    {
        string nic = Guest.AddressOf(Nic);
        await _guest.RunAsync("for f in /sys/kernel/mm/hugepages/*/nr_hugepages; do echo 0 >$f; done");
        string ill = await _guest.RunAsync($"dataplane doctor {nic} -o json", code: 1);
        JsonElement[] problems = [.. JsonDocument.Parse(ill).RootElement.GetProperty("findings").EnumerateArray().Where(f => f.GetProperty("level").GetString() == "PROBLEM")];
        string fix = Assert.Single(problems).GetProperty("fix").GetString()!;
        await _guest.RunAsync(fix.Split(';')[0]);
        await _guest.RunAsync($"dataplane device bind {nic}");
        Assert.Contains("vfio-pci", await _guest.RunAsync($"dataplane doctor {nic}"), StringComparison.Ordinal);
    }

    [VmFact]
    public async Task TheMachinesOwnCardIsNotTaken()
    {
        string nic = await _guest.InterfaceOfAsync(Nic);
        await _guest.RunAsync($"ip link set {nic} up && ip -6 route add default dev {nic} table 77");
        Assert.Contains("carries this machine's default route", await _guest.RunAsync($"dataplane device bind --force {nic}", code: 1), StringComparison.Ordinal);
        await _guest.RunAsync($"ip -6 route del default dev {nic} table 77 && ip addr add 192.0.2.1/24 dev {nic}");
        Assert.Contains("192.0.2.1/24: the host uses it", await _guest.RunAsync($"dataplane device bind {Guest.AddressOf(Nic)}", code: 1), StringComparison.Ordinal);
        Assert.Equal("e1000e", await _guest.DriverOfAsync(Nic));
        Assert.Equal(nic, await _guest.InterfaceOfAsync(Nic));
    }

    /// <summary>Not only does the driver have it: packets go through it.</summary>
    private async Task TheKernelHasItAgain()
    {
        Assert.Equal("e1000e", await _guest.DriverOfAsync(Nic));
        string nic = await _guest.InterfaceOfAsync(Nic);
        await _guest.RunAsync($"ip addr add 10.0.0.9/24 dev {nic} && ip link set {nic} up");
        await _guest.PingAsync("peer", "10.0.0.9");
    }
}
