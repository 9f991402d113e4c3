using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Two workers, two queues per TAP device: what holds with one holds with more.</summary>
public sealed class WorkersTests : IDisposable
{
    private readonly Switch _switch = Switch.Started("--workers", "2");
    private readonly Lan _lan;

    public WorkersTests()
    {
        _lan = new Lan(_switch, "lan", 141);
        _lan.AddHost();
        _lan.AddContainers("", "a", "b", "c");
    }

    [Fact]
    public void BothForwardAndNothingIsLost()
    {
        foreach (Station from in _lan.Stations)
        {
            foreach (Station to in _lan.Stations.Where(s => s != from))
            {
                Ping.Reaches(from, to.Address, 8000);
            }
        }
        // The kernel chooses a device's queue by the flow: many flows use both.
        Assert.True(Iperf.Send(_lan["a"], _lan["b"], "-t", "1", "-P", "8") > 0);
        Assert.True(Iperf.Send(_lan["c"], _lan["host"], "-t", "1", "-P", "8") > 0);

        Thread.Sleep(TimeSpan.FromSeconds(1.5)); // a worker writes its figures once a second
        IReadOnlyList<WorkerCounters> workers = _switch.Api.Stats.GetWorkers(new GetWorkersRequest(), deadline: ApiClient.Deadline).Workers;
        Assert.Equal(2, workers.Count);
        Assert.All(workers, w => Assert.True(w.Packets > 0, $"{w}"));
        Assert.All(workers, w => Assert.Equal(0ul, w.AllocatedBytes));
        Assert.Equal(0ul, _switch.Api.Status.GarbageCollections);
        Accounts.Balance(_switch);
    }

    [Fact]
    public void NothingIsLostWhilePortsComeAndGoAndTheDaemonIsReplaced()
    {
        using ContinuousPing ping = Ping.Start(_lan["a"], _lan["b"].Address, "0.001"), other = Ping.Start(_lan["c"], _lan["host"].Address, "0.001");
        for (int round = 0; round < 3; round++)
        {
            _lan.AddContainers("", "d");
            Ping.Reaches(_lan["d"], _lan["a"].Address);
            _switch.Do("port", "delete", _lan["d"].Port);
        }
        _switch.Stop(LinuxProcess.SIGKILL);
        _switch.Start();
        ping.WaitForMore(200);
        Assert.Empty(ping.End());
        Assert.Empty(other.End());
        Assert.Contains("0 records and 0 static MACs had to be changed", _switch.Log, StringComparison.Ordinal);
        Accounts.Balance(_switch);
    }

    [Fact]
    public void NothingIsLostWhileQueuesGoFromWorkerToWorker()
    {
        string port = _lan["a"].Port;
        Assert.Equal([$"{port} 0 0", $"{port} 1 1"], Queues());
        using ContinuousPing ping = Ping.Start(_lan["a"], _lan["b"].Address, "0.001"), other = Ping.Start(_lan["b"], _lan["a"].Address, "0.001");
        for (int i = 0; i < 10; i++)
        {
            ping.WaitForMore(10);
            foreach (string name in _lan.Stations.Select(station => station.Port))
            {
                _switch.Do("queue", "assign", name, "0", $"{(i + 1) % 2}");
                _switch.Do("queue", "assign", name, "1", $"{i % 2}");
            }
        }
        _switch.Do("queue", "assign", port, "0", "1");
        Assert.Equal([$"{port} 0 1", $"{port} 1 1"], Queues());
        Assert.Empty(ping.End());
        Assert.Empty(other.End());
        _switch.Run("queue", "assign", port, "2", "0").EndsWith(1).Says($"port \"{port}\" has no receive queue 2; it has 2");
        Accounts.Balance(_switch);

        IEnumerable<string> Queues() => _switch.Api.Stats.GetQueues(new GetQueuesRequest { Ports = { port } }, deadline: ApiClient.Deadline)
            .Queues.Select(q => $"{q.Port} {q.Queue_} {q.Worker}");
    }

    [Fact]
    public void TheEngineComesBackWithBoth()
    {
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        uint pid = _switch.Api.Status.EnginePid;
        LinuxProcess.Kill((int)pid, LinuxProcess.SIGKILL);
        Until.True(() => _switch.Api.Status is { State: EngineStatus.Types.State.Running } s && s.EnginePid != pid, "another engine runs", () => _switch.Log);
        Assert.Equal(2u, _switch.Api.Status.Workers);
        Assert.Equal(_lan["b"].Port, _switch.Api.PortOf(_lan.Name, _lan["b"].Mac));
        foreach (Station station in _lan.Stations)
        {
            _switch.WaitFor(station.Port, PortStatus.Types.State.Up);
        }
        Assert.True(Iperf.Send(_lan["a"], _lan["b"], "-t", "1", "-P", "8") > 0);
        Accounts.Balance(_switch);
    }

    public void Dispose() => _switch.Dispose();
}
