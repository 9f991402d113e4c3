using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.UnitTests.Interop.Linux;
using Grpc.Core;

namespace Dataplane.UnitTests.Control;

/// <summary>Policies: their rules, what ports become by them, and that nothing names one that is not there.</summary>
public sealed class PolicyTests
{
    private static readonly Resource s_tenant = ResourceKeys.Of(new Policy { Name = "tenant", Isolated = true, RateLimit = new RateLimit { PacketsPerSecond = 1000, BitsPerSecond = 8_000_000 } });

    [Fact]
    public async Task APortHasWhatItsPolicySays()
    {
        using var bench = new Bench();
        await bench.Apply(s_tenant, Make.Net("blue"), Make.Memory("web", "blue", p => p.Policy = "tenant"), Make.Memory("db", "blue"));
        PortRecord web = bench.RecordOf("web");
        Assert.True(web.Has(PortFlags.Policed | PortFlags.Isolated));
        Assert.Equal((1000u, 100u, 1_000_000ul, 100_000u), (web.PolicePackets, web.PolicePacketBurst, web.PoliceBytes, web.PoliceByteBurst));
        Assert.Equal(PortFlags.None, bench.RecordOf("db").Flags & (PortFlags.Policed | PortFlags.Isolated));
        Assert.Equal(1u, bench.Controller.Status.Find(bench.Controller.State, Kind.Policy, "tenant")!.Policy.Status.Ports);

        // Another policy of that name reaches the ports that have it, which stay as they are otherwise.
        await bench.Apply(ResourceKeys.Of(new Policy { Name = "tenant", RateLimit = new RateLimit { BitsPerSecond = 64_000, ByteBurst = 3000 } }));
        web = bench.RecordOf("web");
        Assert.False(web.Has(PortFlags.Isolated));
        Assert.Equal((0u, 8000ul, 3000u), (web.PolicePackets, web.PoliceBytes, web.PoliceByteBurst));
        await bench.Apply(ResourceKeys.Of(new Policy { Name = "tenant" }));
        Assert.False(bench.RecordOf("web").Has(PortFlags.Policed));
    }

    [Fact]
    public async Task ARoutedPortIsLimitedToo()
    {
        using var bench = new Bench();
        await bench.Apply(s_tenant, Make.Routed("uplink", "192.0.2.10/24", p => p.Policy = "tenant"));
        Assert.True(bench.RecordOf("uplink").Has(PortFlags.Policed | PortFlags.Routed));
        Assert.False(bench.RecordOf("uplink").Has(PortFlags.Isolated));
    }

    [Fact]
    public async Task NothingNamesAPolicyThatIsNotThere()
    {
        using var bench = new Bench();
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(Make.Net("blue"), Make.Memory("web", "blue", p => p.Policy = "tenant")));
        Assert.Equal("port \"web\": policy \"tenant\" does not exist; policies: (there is none)", error.Message);
        await bench.Apply(s_tenant, Make.Net("blue"), Make.Memory("web", "blue", p => p.Policy = "tenant"));
        error = await Assert.ThrowsAsync<ProblemException>(() => bench.Delete((Kind.Policy, "tenant")));
        Assert.Equal((StatusCode.FailedPrecondition, "policy \"tenant\": is used by port \"web\"; delete these first, or in the same call"), (error.Code, error.Message));
        await bench.Delete((Kind.Policy, "tenant"), (Kind.Port, "web"));
        Assert.Empty(bench.Controller.State.Policies);
    }

    [Theory]
    [InlineData(0u, 0u, 0ul, 0u, "limits nothing; give packets_per_second or bits_per_second, or leave rate_limit out")]
    [InlineData(100_000_001u, 0u, 0ul, 0u, "100000001 is above 100000000; leave it out for no limit")]
    [InlineData(0u, 0u, 7_999ul, 0u, "7999 is not from 8000 to 1000000000000; leave it out for no limit")]
    [InlineData(0u, 0u, 1_000_000_000_001ul, 0u, "1000000000001 is not from 8000 to 1000000000000; leave it out for no limit")]
    [InlineData(1u, 100_000_001u, 0ul, 0u, "100000001 is above 100000000")]
    [InlineData(0u, 0u, 8_000ul, 2_000_000_001u, "2000000001 is above 2000000000")]
    [InlineData(0u, 1u, 8_000ul, 0u, "packets are not limited; give packets_per_second")]
    [InlineData(1u, 0u, 0ul, 1u, "bits are not limited; give bits_per_second")]
    public async Task WhatMakesNoSenseIsRefused(uint packets, uint packetBurst, ulong bits, uint byteBurst, string problem)
    {
        using var bench = new Bench();
        var limit = new RateLimit { PacketsPerSecond = packets, PacketBurst = packetBurst, BitsPerSecond = bits, ByteBurst = byteBurst };
        ProblemException error = await Assert.ThrowsAsync<ProblemException>(() => bench.Apply(ResourceKeys.Of(new Policy { Name = "p", RateLimit = limit })));
        Assert.Equal($"policy \"p\": {problem}", error.Message);
    }

    [Fact]
    public async Task TheStoreHasIt()
    {
        using var directory = new TempDirectory();
        DesiredState before;
        using (var store = new Dataplane.Control.State.Sqlite.SqliteStore(directory.File("state.db")))
        using (var bench = new Bench(store))
        {
            await bench.Apply(s_tenant, Make.Net("blue"), Make.Memory("web", "blue", p => p.Policy = "tenant"));
            before = bench.Controller.State;
        }
        using var again = new Dataplane.Control.State.Sqlite.SqliteStore(directory.File("state.db"));
        SqliteStoreTests.AssertSame(before, again.Load());
        Assert.Equal(before.Policies["tenant"], again.Load().Policies["tenant"]);
    }
}
