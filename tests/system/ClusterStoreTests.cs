using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>A node whose desired state is in etcd, which comes and goes: packets do not notice.</summary>
public sealed class ClusterStoreTests : IDisposable
{
    private const string Store = "etcd://127.0.0.1:23790/cluster";

    private readonly Switch _switch = new("--store", Store, "--node", "one");

    [Fact]
    public void ForwardingGoesOnWhileEtcdIsAway()
    {
        Etcd etcd = _switch.Own(new Etcd(_switch.Host));
        _switch.Start();
        var lan = new Lan(_switch, "lan", 57);
        lan.AddContainers("", "a", "b");
        Assert.Contains($"{Store}, node one", _switch.Do("status"), StringComparison.Ordinal);

        using ContinuousPing ping = Ping.Start(lan["a"], lan["b"].Address, "0.001");
        ping.WaitForMore(200);
        etcd.Stop();
        Until.True(() => !_switch.Api.Status.Store.Available, "the switch notices", () => _switch.Log);
        _switch.Shows("node one, away: etcd at 127.0.0.1:23790 does not answer", "status");
        Finished refused = _switch.Run("network", "add", "other");
        Assert.NotEqual(0, refused.ExitCode);
        Assert.Contains("etcd at 127.0.0.1:23790 does not answer", refused.Error, StringComparison.Ordinal);

        // Killed and started again without etcd: it begins with its own copy, and the engine never stopped.
        _switch.Stop(LinuxProcess.SIGKILL);
        _switch.Start();
        ping.WaitForMore(200);
        etcd.Start();
        Until.True(() => _switch.Api.Status.Store.Available, "the switch notices", () => _switch.Log);
        _switch.Do("network", "add", "other");
        ping.WaitForMore(200);
        Assert.Empty(ping.End());
    }

    public void Dispose() => _switch.Dispose();
}
