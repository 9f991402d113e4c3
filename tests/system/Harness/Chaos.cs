using Dataplane.Control.Api;
using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;
using Grpc.Core;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A switch that mishaps happen to, and what holds after each of them: packets pass, the counters balance, what was acknowledged is
/// there, nothing is there in part, and workers find what is desired.
/// <para>
/// Desired state is groups of static addresses. A batch writes one group as a whole: all of its addresses lead to one port, then to
/// another one, then to none.
/// </para>
/// </summary>
public abstract class Chaos : IDisposable
{
    private const int Groups = 200, GroupSize = 20;

    /// <summary>Of each group what may be there: what was acknowledged last, and what was tried since.</summary>
    private readonly Dictionary<int, List<string>> _possible = [];
    private int _batches;

    /// <param name="on">The switch, which runs.</param>
    /// <param name="subnet">See <see cref="Lan"/>.</param>
    /// <param name="seed">Of the order of mishaps and their instants.</param>
    protected Chaos(Switch on, int subnet, int seed)
    {
        Switch = on;
        Random = new Random(seed);
        Lan = new Lan(on, "lan", subnet);
        Lan.AddHost();
        Lan.AddContainers("", "a", "b");
    }

    protected Switch Switch { get; }

    protected Lan Lan { get; }

    protected Random Random { get; }

    public virtual void Dispose() => Switch.Dispose();

    /// <summary>Lets each of the mishaps happen so many times, in an order that nobody chose.</summary>
    protected void Suffer(int times, params Action[] mishaps)
    {
        int[] order = [.. Enumerable.Range(0, times * mishaps.Length).Select(i => i % mishaps.Length)];
        Random.Shuffle(order);
        foreach (int mishap in order)
        {
            Assert.Null(TryBatch());
            mishaps[mishap]();
            CheckInvariants();
        }
    }

    protected void KillEngine()
    {
        int before = Switch.EnginePid;
        LinuxProcess.Kill(before, LinuxProcess.SIGKILL);
        Until.True(() => Switch.Api.Status is { State: EngineStatus.Types.State.Running } status && status.EnginePid != before, "another engine runs");
    }

    protected void KillControl()
    {
        Switch.Stop(LinuxProcess.SIGKILL);
        Ping.Reaches(Lan["a"], Lan["b"].Address);
        Switch.Start();
    }

    protected void KillControlAtWork()
    {
        AtWork(() => Switch.Stop(LinuxProcess.SIGKILL));
        Switch.Start();
    }

    protected void KillBoth()
    {
        LinuxProcess.Kill(Switch.EnginePid, LinuxProcess.SIGKILL);
        Switch.Stop(LinuxProcess.SIGKILL);
        Switch.Start();
    }

    /// <summary>Something happens while batches come, after some of them.</summary>
    protected void AtWork(Action mishap)
    {
        int begun = Volatile.Read(ref _batches), enough = begun + Random.Next(5, 120);
        double rest = Random.NextDouble();
        Task batches = Task.Run(() =>
        {
            while (TryBatch() is null)
            {
            }
        });
        Until.True(() => Volatile.Read(ref _batches) >= enough || batches.IsCompleted, "batches are made");
        // And somewhere in one of them.
        Thread.Sleep(TimeSpan.FromMilliseconds(10 * rest));
        mishap();
        Assert.True(batches.Wait(Until.Patience), "a batch has no end");
    }

    /// <summary>Applies a batch. Gives why it was not acknowledged, or null.</summary>
    protected string? TryBatch()
    {
        int batch = Interlocked.Increment(ref _batches), group = batch % Groups;
        string target = (batch / Groups % 3) switch { 0 => Lan["a"].Port, 1 => Lan["b"].Port, _ => "" };
        List<string> possible = _possible.TryGetValue(group, out List<string>? known) ? known : _possible[group] = ["absent"];
        possible.Add(target);
        var request = new ApplyRequest { Resources = { Enumerable.Range(0, GroupSize).Select(i => Address(group, i, target)) } };
        try
        {
            Switch.Api.Resources.Apply(request, deadline: ApiClient.Deadline);
        }
        catch (RpcException e)
        {
            return $"{e.StatusCode}: {string.Join("; ", Errors.Problems(e).Select(p => p.Message))}";
        }
        possible.Clear();
        possible.Add(target);
        return null;
    }

    protected virtual void CheckInvariants()
    {
        foreach (Station station in Lan.Stations)
        {
            Switch.WaitFor(station.Port, PortStatus.Types.State.Up);
        }
        Ping.Reaches(Lan["a"], Lan["b"].Address);
        Ping.Reaches(Lan["b"], Lan["host"].Address);
        Accounts.Balance(Switch);

        List<StaticMac> desired = Desired();
        ILookup<int, StaticMac> groups = desired.ToLookup(m => GroupOf(m.Mac));
        foreach ((int group, List<string> possible) in _possible)
        {
            string[] found = [.. groups[group].Select(m => m.Port).DefaultIfEmpty("absent").Distinct()];
            Assert.True(found.Length == 1 && possible.Contains(found[0]), $"group {group} leads to {string.Join(" and ", found)}, not to {string.Join(" or ", possible)}");
            // Of one batch, so of one revision.
            Assert.True(groups[group].Select(m => m.Revision).Distinct().Count() <= 1, $"group {group} is of several batches");
            Assert.Contains(groups[group].Count(), new[] { 0, GroupSize });
        }
        // And workers find what is desired, no more and no less.
        Assert.Equal(
            desired.Select(m => (m.Mac, m.Port, m.TargetCase == StaticMac.TargetOneofCase.Drop)).Order(),
            Lan.Api.Macs(Lan.Name).Where(m => m.IsStatic).Select(m => (m.Mac, m.Port, m.Drop)).Order());
    }

    /// <summary>The static addresses of desired state.</summary>
    protected List<StaticMac> Desired() => [.. Switch.Api.All(Kind.StaticMac).Select(r => r.StaticMac)];

    private Resource Address(int group, int number, string target)
    {
        var mac = new StaticMac { Network = Lan.Name, Mac = $"02:00:00:00:{group:x2}:{number:x2}" };
        if (target.Length > 0)
        {
            mac.Port = target;
        }
        else
        {
            mac.Drop = true;
        }
        return new Resource { StaticMac = mac };
    }

    private static int GroupOf(string mac) => Convert.ToInt32(mac.Split(':')[4], 16);
}
