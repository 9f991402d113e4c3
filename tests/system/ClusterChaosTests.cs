using System.Text.Json;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>
/// The same with desired state in etcd: any of the three processes is killed, at any moment. Besides what holds for a node by itself,
/// what etcd has is what the node has.
/// </summary>
public sealed class ClusterChaosTests : Chaos
{
    private const string Prefix = "/chaos/";

    private readonly Etcd _etcd;

    public ClusterChaosTests()
        : this(new Switch("--store", "etcd://127.0.0.1:23790" + Prefix, "--node", "one"))
    {
    }

    private ClusterChaosTests(Switch on)
        : this(on, Began(on))
    {
    }

    private ClusterChaosTests(Switch on, Etcd etcd)
        : base(on, 185, seed: 21) => _etcd = etcd;

    [Fact]
    public void WhateverHappensNothingAcknowledgedIsLost() =>
        Suffer(3, KillEngine, KillControlAtWork, KillBoth, KillEtcd, KillEtcdAtWork, KillEtcdAndControlAtWork, StartWithoutEtcd);

    protected override void CheckInvariants()
    {
        Until.True(() => Switch.Api.Status.Store.Available, "the store is there", () => Switch.Log);
        // What etcd took without being able to say so takes effect a moment later.
        Until.Holds(() => Assert.Equal(InEtcd(), Desired().Select(m => (m.Mac, m.Port)).Order()));
        base.CheckInvariants();
        Assert.Equal("", Switch.Api.Status.Store.Reason);
    }

    private void KillEtcd()
    {
        _etcd.Stop();
        Until.True(() => !Switch.Api.Status.Store.Available, "the switch notices", () => Switch.Log);
        Assert.StartsWith("Unavailable: ", TryBatch() ?? "acknowledged", StringComparison.Ordinal);
        Ping.Reaches(Lan["a"], Lan["b"].Address);
        _etcd.Start();
    }

    private void KillEtcdAtWork()
    {
        AtWork(_etcd.Stop);
        _etcd.Start();
    }

    private void KillEtcdAndControlAtWork()
    {
        AtWork(() =>
        {
            _etcd.Stop();
            Switch.Stop(LinuxProcess.SIGKILL);
        });
        _etcd.Start();
        Switch.Start();
    }

    /// <summary>It begins with its own copy, which may lack what it had not adopted yet, and follows when etcd is back.</summary>
    private void StartWithoutEtcd()
    {
        AtWork(() =>
        {
            Switch.Stop(LinuxProcess.SIGKILL);
            _etcd.Stop();
        });
        Switch.Start();
        Ping.Reaches(Lan["a"], Lan["b"].Address);
        _etcd.Start();
    }

    /// <summary>Address and port of what is stored.</summary>
    private IEnumerable<(string Mac, string Port)> InEtcd() => _etcd.List(Prefix).Where(k => k.Key.Contains("/static-macs/", StringComparison.Ordinal))
        .Select(k => (k.Key.Split('/')[^1], JsonDocument.Parse(k.Value).RootElement.TryGetProperty("port", out JsonElement port) ? port.GetString()! : "")).Order();

    private static Etcd Began(Switch on)
    {
        Etcd etcd = on.Own(new Etcd(on.Host));
        on.Start();
        return etcd;
    }
}
