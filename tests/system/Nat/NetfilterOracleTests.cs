using Dataplane.PacketTests.Harness;

namespace Dataplane.SystemTests.Nat;

/// <summary>
/// Random traffic through services and masquerade, packet by packet to this switch and to the kernel's netfilter, whose verdicts are the
/// oracle: both pass the same packets on, by the same link, with the same bytes. Only a port that was given out may differ, where the
/// client's own was taken; then each router's server answers to the port that this router gave.
/// </summary>
public sealed class NetfilterOracleTests
{
    private const int Steps = 4000;

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(3, true)]
    [InlineData(4, true)]
    public void Both_do_the_same_with_every_packet(int seed, bool v6)
    {
        NatNet net = v6 ? NatNet.V6 : NatNet.V4;
        using var kernel = new KernelRouter(net);
        using var own = new SwitchRouter(net);
        var oracle = new NatOracle(net, kernel, own, new Random(seed));
        for (int step = 0; step < Steps; step++)
        {
            oracle.Step();
        }
        // Of each kind of traffic there was enough to mean something.
        Assert.All(Enum.GetValues<NatTraffic>(), kind => Assert.True(oracle.Passed(kind) > Steps / 100, $"{kind}: {oracle.Passed(kind)} packets"));
        Assert.True(oracle.OtherPorts > 10, $"{oracle.OtherPorts} clients got another port than their own");
    }
}
