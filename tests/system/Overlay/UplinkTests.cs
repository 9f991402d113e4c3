using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Other ports for the underlay than a network device, which the other tests have.</summary>
public sealed class UplinkTests
{
    [Theory]
    [InlineData(UplinkKind.Packet)]
    [InlineData(UplinkKind.Xdp)]
    [InlineData(UplinkKind.HostTap)]
    public void ContainersReachEachOther(UplinkKind uplink)
    {
        using var nodes = new SwitchVtepNodes(uplink);
        OuterPackets.AreAllWell(nodes, () =>
        {
            foreach (int size in new[] { 64, nodes.Mtu, 4000 })
            {
                Ping.Reaches(nodes.Here, nodes.There.Address, size);
                Ping.Reaches(nodes.There, nodes.HereByIPv6.Address, size);
            }
            new Conversation(nodes.Here, nodes.There).StreamTcp(1 << 26);
            new Conversation(nodes.There, nodes.Here).StreamTcp(1 << 26);
        });
        KubernetesRules.Hold(nodes.Stations);
        Assert.All(nodes.Switches, Accounts.Balance);
    }
}
