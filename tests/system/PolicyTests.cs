using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>
/// What ports may send by their policy, measured with iperf3. The bounds are wide on purpose: they tell a rate that is kept from one
/// that is not, on whatever machine; how exactly it is kept is for the packet tests, which turn the clock themselves.
/// </summary>
[Collection(SharedSwitchTests.Name)]
public sealed class PolicyTests(SharedSwitch shared)
{
    /// <summary>Bits per second; the machine manages a hundred times as many.</summary>
    private const int Limit = 20_000_000;

    private const int PacketLimit = 2_000, PayloadOfPackets = 100, PayloadOfBits = 1_200;

    [Fact]
    public void APortSendsWhatItsPolicyLetsItUntilThePolicyIsGone()
    {
        var lan = new Lan(shared.Switch, "rate", 182);
        shared.Switch.Do("policy", "add", "rate-slow", "--bps", "20M");
        lan.AddContainers("policy: rate-slow", "a");
        lan.AddContainers("", "b");
        // A tenth of a second's worth may come at once, and headers count.
        Assert.InRange(Iperf.BitsPerSecond(lan["a"], lan["b"], Flood(10 * Limit, PayloadOfBits)), 0.6 * Limit, 1.2 * Limit);
        Assert.True(shared.Switch.Api.Drops(lan["a"].Port, "rate-limit") > 0, "nothing was dropped for the limit");
        double limited = Iperf.BitsPerSecond(lan["a"], lan["b"], "-t", "3");
        Assert.InRange(limited, 0.2 * Limit, 1.2 * Limit);
        // The other port has no policy, and the way back no limit.
        Assert.True(Iperf.BitsPerSecond(lan["b"], lan["a"], Flood(10 * Limit, PayloadOfBits)) > 2 * Limit, "the other port is limited");

        SetPolicy(lan["a"].Port, "");
        shared.Switch.Do("policy", "delete", "rate-slow");
        ulong dropped = shared.Switch.Api.Drops(lan["a"].Port, "rate-limit");
        Assert.True(Iperf.BitsPerSecond(lan["a"], lan["b"], Flood(10 * Limit, PayloadOfBits)) > 2 * Limit, "the limit outlives the policy");
        double unlimited = Iperf.BitsPerSecond(lan["a"], lan["b"], "-t", "2");
        Assert.True(unlimited > 3 * limited, $"TCP reached {limited:N0} bit/s with the policy and {unlimited:N0} without");
        Assert.Equal(dropped, shared.Switch.Api.Drops(lan["a"].Port, "rate-limit"));
    }

    /// <summary>Another policy of that name reaches its ports at once.</summary>
    [Fact]
    public void PacketsAreLimitedAsAreBits()
    {
        var lan = new Lan(shared.Switch, "pps", 183);
        shared.Switch.Do("policy", "add", "pps-slow", "--pps", "2000");
        lan.AddContainers("policy: pps-slow", "a");
        lan.AddContainers("", "b");
        Assert.InRange(PacketsPerSecond(), 0.6 * PacketLimit, 1.2 * PacketLimit);
        shared.Switch.Apply("policies: [{name: pps-slow, rate_limit: {packets_per_second: 8000}}]");
        Assert.InRange(PacketsPerSecond(), 3 * 0.6 * PacketLimit, 4 * 1.2 * PacketLimit);

        double PacketsPerSecond() => Iperf.BitsPerSecond(lan["a"], lan["b"], Flood(20 * PacketLimit * PayloadOfPackets * 8, PayloadOfPackets)) / (8 * PayloadOfPackets);
    }

    /// <summary>A policy isolates its ports from each other; the host and who has no such policy are reached.</summary>
    [Fact]
    public void AnIsolatingPolicySeparatesItsPorts()
    {
        var lan = new Lan(shared.Switch, "polis", 184);
        shared.Switch.Do("policy", "add", "polis-tenant", "--isolated");
        lan.AddHost();
        lan.AddContainers("policy: polis-tenant", "a", "b");
        lan.AddContainers("", "open");
        Ping.DoesNotReach(lan["a"], lan["b"].Address);
        Ping.Reaches(lan["a"], lan["host"].Address);
        Ping.Reaches(lan["open"], lan["b"].Address);
        SetPolicy(lan["a"].Port, "");
        Ping.Reaches(lan["a"], lan["b"].Address);
    }

    /// <summary>UDP at so many bits of payload a second, more than the limit lets through.</summary>
    private static string[] Flood(int bitsPerSecond, int payload) => ["-u", "-b", $"{bitsPerSecond}", "-l", $"{payload}", "-t", "3"];

    private void SetPolicy(string port, string policy)
    {
        Resource resource = shared.Switch.Api.Resources.Get(new GetRequest { Kind = Kind.Port, Name = port }, deadline: ApiClient.Deadline);
        resource.Port.Policy = policy;
        shared.Switch.Api.Resources.Apply(new ApplyRequest { Resources = { resource } }, deadline: ApiClient.Deadline);
    }
}
