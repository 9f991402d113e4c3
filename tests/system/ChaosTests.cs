using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>
/// One mishap after the other on the same switch, in an order that nobody chose: either process is killed, or the disk of the
/// desired state is full. After each of them the same things hold: packets pass, the counters balance, and what was
/// acknowledged is there, whole.
/// </summary>
public sealed class ChaosTests : IDisposable
{
    private const int Rounds = 12, BatchSize = 20;

    private readonly string _disk = Directory.CreateTempSubdirectory("dataplane-chaos-").FullName;
    private readonly HashSet<string> _acknowledged = [];
    private readonly Random _random = new(20);
    private readonly Switch _switch;
    private readonly Lan _lan;
    private int _batches;

    public ChaosTests()
    {
        Tool.Do("mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", _disk);
        _switch = Switch.Started("--state-dir", _disk);
        _lan = new Lan(_switch, "lan", 181);
        _lan.AddHost();
        _lan.AddContainers("", "a", "b");
    }

    [Fact]
    public void WhateverHappensNothingAcknowledgedIsLost()
    {
        Action[] mishaps = [KillEngine, KillControl, KillControlAtWork, KillBoth, FillTheDisk];
        // Each of them at least twice, in any order.
        int[] order = [.. Enumerable.Range(0, Rounds).Select(i => i % mishaps.Length)];
        _random.Shuffle(order);
        foreach (int mishap in order)
        {
            Assert.True(TryBatch(), "a batch is refused though nothing is wrong");
            mishaps[mishap]();
            CheckInvariants();
        }
    }

    private void KillEngine()
    {
        int before = _switch.EnginePid;
        LinuxProcess.Kill(before, LinuxProcess.SIGKILL);
        Until.True(() => _switch.Api.Status is { State: EngineStatus.Types.State.Running } status && status.EnginePid != before, "another engine runs");
    }

    private void KillControl()
    {
        _switch.Stop(LinuxProcess.SIGKILL);
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        _switch.Start();
    }

    /// <summary>Killed while batches come: the one under way may be there or not, but not in part.</summary>
    private void KillControlAtWork()
    {
        Task batches = Task.Run(() =>
        {
            while (TryBatch())
            {
            }
        });
        Thread.Sleep(_random.Next(300, 900));
        _switch.Stop(LinuxProcess.SIGKILL);
        batches.Wait();
        _switch.Start();
    }

    private void KillBoth()
    {
        LinuxProcess.Kill(_switch.EnginePid, LinuxProcess.SIGKILL);
        _switch.Stop(LinuxProcess.SIGKILL);
        _switch.Start();
    }

    private void FillTheDisk()
    {
        string filler = Path.Combine(_disk, "filler");
        Tool.Run(["dd", "if=/dev/zero", $"of={filler}", "bs=4k"]);
        // The log of transactions has some room of its own; it ends, and then a batch is refused and says why.
        bool refused = false;
        for (int i = 0; i < 200 && !refused; i++)
        {
            refused = !TryBatch(says: "no space left");
        }
        Assert.True(refused, "a full disk refuses nothing");
        CheckInvariants();
        File.Delete(filler);
        Assert.True(TryBatch(), "a batch is refused though there is room again");
    }

    /// <summary>Applies a batch of static addresses. False when it was not acknowledged.</summary>
    private bool TryBatch(string? says = null)
    {
        int batch = ++_batches;
        string[] macs = [.. Enumerable.Range(0, BatchSize).Select(i => $"02:00:00:{batch >> 8:x2}:{batch & 0xFF:x2}:{i:x2}")];
        Finished result = _switch.TryApply("static_macs:\n" + string.Concat(macs.Select(m => $"- {{network: {_lan.Name}, mac: \"{m}\", port: {_lan["a"].Port}}}\n")));
        if (result.ExitCode == 0)
        {
            _acknowledged.UnionWith(macs);
        }
        else if (says is not null)
        {
            result.Says(says);
        }
        return result.ExitCode == 0;
    }

    private void CheckInvariants()
    {
        foreach (Station station in _lan.Stations)
        {
            _switch.WaitFor(station.Port, PortStatus.Types.State.Up);
        }
        Ping.Reaches(_lan["a"], _lan["b"].Address);
        Ping.Reaches(_lan["b"], _lan["host"].Address);
        Accounts.Balance(_switch);

        List<string> desired = [.. _switch.Json("get", "static-mac").GetProperty("static_macs").EnumerateArray().Select(m => m.GetProperty("mac").GetString()!)];
        Assert.Empty(_acknowledged.Except(desired));
        // Nothing in part: of each batch all or nothing.
        Assert.All(desired.GroupBy(m => m[..14]), batch => Assert.Equal(BatchSize, batch.Count()));
        // And workers find what is desired, no more and no less.
        Assert.Equal(desired.Order(), _lan.Api.Macs(_lan.Name).Where(m => m.IsStatic).Select(m => m.Mac).Order());
    }

    public void Dispose()
    {
        _switch.Dispose();
        Tool.Run(["umount", _disk]);
        Directory.Delete(_disk, recursive: true);
    }
}
