using Dataplane.Control.Api;
using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;
using Grpc.Core;

namespace Dataplane.SystemTests;

/// <summary>The API as a program uses it, over the real socket and with real devices behind it.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class ApiTests : IDisposable
{
    private const string Net = "api";

    private readonly Switch _switch;
    private readonly Resources.ResourcesClient _resources;
    private readonly Namespace _container;

    public ApiTests(SharedSwitch shared)
    {
        _switch = shared.Switch;
        _resources = _switch.Api.Resources;
        _container = new Namespace("api");
        Apply(new Resource { Network = new Network { Name = Net, Subnets = { "10.121.0.0/16" }, Gateways = { "10.121.0.1" } } });
    }

    [Fact]
    public void WhatIsAppliedIsThereWhenTheCallReturns()
    {
        ApplyResponse response = Apply(Web("10.121.0.2/16"));
        Change change = Assert.Single(response.Changes);
        Assert.Equal(Change.Types.Action.Created, change.Action);
        PortStatus status = change.Resource.Port.Status;
        Assert.Equal((PortStatus.Types.State.Up, "eth0", 1500u), (status.State, status.Device, status.Mtu));
        Assert.Equal(["10.121.0.2/16"], status.Addresses);
        string link = _container.Do("ip", "-o", "address", "show", "dev", "eth0");
        Assert.Contains("10.121.0.2/16", link, StringComparison.Ordinal);
        Assert.Contains("via 10.121.0.1", _container.Do("ip", "route"), StringComparison.Ordinal);
        Assert.Contains(status.Mac, _container.Do("ip", "-o", "link", "show", "dev", "eth0"), StringComparison.Ordinal);

        // The same again changes nothing, not even the revision; something else changes that alone.
        ApplyResponse again = Apply(Web("10.121.0.2/16"));
        Assert.Equal((Change.Types.Action.Unchanged, response.Revision), (again.Changes[0].Action, again.Revision));
        ApplyResponse moved = Apply(Web("10.121.0.3/16"));
        Assert.Equal(["tap.addresses: [10.121.0.2/16] -> [10.121.0.3/16]"], moved.Changes[0].Differences);
        Assert.DoesNotContain("10.121.0.2/16", _container.Do("ip", "-o", "address"), StringComparison.Ordinal);

        _resources.Delete(new DeleteRequest { Keys = { WebKey } }, deadline: ApiClient.Deadline);
        Assert.DoesNotContain("eth0", _container.Do("ip", "-o", "link"), StringComparison.Ordinal);
    }

    [Fact]
    public void AnOutputOfGetCanBeApplied()
    {
        Apply(Web("10.121.0.2/16"));
        Resource got = _resources.Get(new GetRequest { Kind = Kind.Port, Name = "api-web" }, deadline: ApiClient.Deadline);
        Assert.Equal(Change.Types.Action.Unchanged, Apply(got).Changes[0].Action);
        Apply(Web("10.121.0.3/16"));
        Refused(StatusCode.Aborted, () => Apply(got));
    }

    [Fact]
    public void ListComesInPages()
    {
        Apply([.. Enumerable.Range(0, 5).Select(i => new Resource { Port = new Port { Name = $"api-m{i}", Network = Net, Memory = new() } })]);
        var names = new List<string>();
        string token = "";
        do
        {
            var request = new ListRequest { Kind = Kind.Port, Filter = new Filter { Network = Net, Name = "api-m*" }, PageSize = 2, PageToken = token };
            ListResponse page = _resources.List(request, deadline: ApiClient.Deadline);
            Assert.InRange(page.Resources.Count, 1, 2);
            names.AddRange(page.Resources.Select(r => r.Port.Name));
            token = page.NextPageToken;
        }
        while (token.Length > 0);
        Assert.Equal(["api-m0", "api-m1", "api-m2", "api-m3", "api-m4"], names);
    }

    [Fact]
    public void ErrorsHaveACodeAndEveryProblem()
    {
        Apply(Web("10.121.0.2/16"));
        Refused(StatusCode.NotFound, () => _resources.Get(new GetRequest { Kind = Kind.Port, Name = "api-none" }, deadline: ApiClient.Deadline));
        Refused(StatusCode.NotFound, () => _resources.Delete(new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Port, Name = "api-none" } } }, deadline: ApiClient.Deadline));
        Refused(StatusCode.AlreadyExists, () => _resources.Apply(new ApplyRequest { Resources = { Web("10.121.0.2/16") }, CreateOnly = true }, deadline: ApiClient.Deadline));
        Refused(StatusCode.FailedPrecondition, () => _resources.Delete(new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Network, Name = Net } } }, deadline: ApiClient.Deadline));

        IReadOnlyList<Problem> problems = Refused(StatusCode.InvalidArgument, () => Apply(
            new Resource { Network = new Network { Name = "api-two", Subnets = { "10.121.4.0/24" }, Mac = "nonsense" } },
            new Resource { Port = new Port { Name = "api-web", Network = "api-none", Tap = new Tap { Netns = _container.Name } } }));
        Assert.Equal(["mac", "network", "subnets[0]"], problems.Select(p => p.Field).Order());
        Assert.All(problems, p => Assert.NotEqual("", p.Message));
    }

    [Fact]
    public async Task WatchTellsEveryChangeInOrder()
    {
        using var patience = new CancellationTokenSource(Until.Patience);
        using AsyncServerStreamingCall<WatchEvent> call = _resources.Watch(new WatchRequest { Kinds = { Kind.Port } }, cancellationToken: patience.Token);
        while (await NextAsync() is { Type: not WatchEvent.Types.Type.Synced } snapshot)
        {
            Assert.Equal(WatchEvent.Types.Type.Snapshot, snapshot.Type);
        }

        Apply(Web("10.121.0.2/16"));
        await NextIsAsync(WatchEvent.Types.Type.Created);
        Apply(Web("10.121.0.3/16"));
        await NextIsAsync(WatchEvent.Types.Type.Updated);
        _container.Delete();
        WatchEvent lost = await NextIsAsync(WatchEvent.Types.Type.Status);
        Assert.Equal(PortStatus.Types.State.Lost, lost.Resource.Port.Status.State);
        _container.Create();
        WatchEvent back = await NextIsAsync(WatchEvent.Types.Type.Status, e => e.Resource.Port.Status.State == PortStatus.Types.State.Up);
        Assert.Equal(1u, back.Resource.Port.Status.Recoveries);
        _resources.Delete(new DeleteRequest { Keys = { WebKey } }, deadline: ApiClient.Deadline);
        await NextIsAsync(WatchEvent.Types.Type.Deleted);

        async Task<WatchEvent> NextAsync()
        {
            Assert.True(await call.ResponseStream.MoveNext(patience.Token), "the watch goes on");
            return call.ResponseStream.Current;
        }

        // Between changes of resources there may be news of their status.
        async Task<WatchEvent> NextIsAsync(WatchEvent.Types.Type type, Func<WatchEvent, bool>? condition = null)
        {
            while (true)
            {
                WatchEvent next = await NextAsync();
                if (next.Resource.Port.Name == "api-web" && next.Type == type && (condition is null || condition(next)))
                {
                    return next;
                }
                Assert.True(next.Type == WatchEvent.Types.Type.Status, $"{type} was expected, this came: {next}");
            }
        }
    }

    [Fact]
    public void StatsAreThereForEverything()
    {
        Apply(Web("10.121.0.2/16"));
        Stats.StatsClient stats = _switch.Api.Stats;
        EngineStatus engine = stats.GetEngine(new GetEngineRequest(), deadline: ApiClient.Deadline);
        Assert.Equal((_switch.Instance, EngineStatus.Types.State.Running, (uint)_switch.ControlPid), (engine.Instance, engine.State, engine.ControlPid));
        Assert.InRange(engine.HeartbeatAge.ToTimeSpan(), TimeSpan.Zero, TimeSpan.FromSeconds(2));
        Assert.InRange(engine.BuffersFree, 1u, engine.BuffersTotal);
        WorkerCounters worker = Assert.Single(stats.GetWorkers(new GetWorkersRequest(), deadline: ApiClient.Deadline).Workers);
        Assert.True(worker.Polls > 0 && worker.Sleeps > 0, $"{worker}");
        DropStats drops = stats.GetDrops(new GetDropsRequest { Port = "api-web", All = true }, deadline: ApiClient.Deadline);
        Assert.Contains(drops.Drops, d => d.Reason == "storm-control" && d.Text.Length > 0);
        Assert.Equal(StatusCode.NotFound, Assert.Throws<RpcException>(() => stats.GetPorts(new GetPortsRequest { Ports = { "api-none" } }, deadline: ApiClient.Deadline)).StatusCode);
    }

    /// <summary>A directory that is watched costs the daemon a wake-up for everything that happens in it and below.</summary>
    [Fact]
    public void TheDaemonWatchesNoFiles()
    {
        string[] watched = [.. Directory.EnumerateFiles($"/proc/{_switch.ControlPid}/fdinfo").SelectMany(File.ReadLines).Where(l => l.StartsWith("inotify ", StringComparison.Ordinal))];
        Assert.Empty(watched);
    }

    /// <summary>What the command line prints with -o json is JSON, for each of its commands.</summary>
    [Theory]
    [InlineData("status")]
    [InlineData("network", "list")]
    [InlineData("network", "get", Net)]
    [InlineData("port", "list")]
    [InlineData("mac", "list")]
    [InlineData("mac", "flush", "--network", Net)]
    [InlineData("stats")]
    [InlineData("stats", "--drops")]
    [InlineData("stats", "--workers")]
    [InlineData("get", "all")]
    [InlineData("network", "add", "api-new", "--dry-run")]
    public void TheCommandLineSpeaksJson(params string[] command) => Assert.NotEmpty(_switch.Json(command).EnumerateObject());

    public void Dispose()
    {
        string[] ports = [.. _resources.List(new ListRequest { Kind = Kind.Port, Filter = new Filter { Network = Net } }, deadline: ApiClient.Deadline).Resources.Select(r => r.Port.Name)];
        var keys = ports.Select(name => new ResourceKey { Kind = Kind.Port, Name = name }).Append(new ResourceKey { Kind = Kind.Network, Name = Net });
        _resources.Delete(new DeleteRequest { Keys = { keys } }, deadline: ApiClient.Deadline);
        _container.Dispose();
    }

    private static ResourceKey WebKey => new() { Kind = Kind.Port, Name = "api-web" };

    private Resource Web(string address) => new()
    {
        Port = new Port { Name = "api-web", Network = Net, Tap = new Tap { Netns = _container.Name, Addresses = { address }, DefaultRoute = true } },
    };

    private ApplyResponse Apply(params Resource[] resources) => _resources.Apply(new ApplyRequest { Resources = { resources } }, deadline: ApiClient.Deadline);

    private static IReadOnlyList<Problem> Refused(StatusCode code, Func<object> call)
    {
        RpcException refused = Assert.Throws<RpcException>(() => _ = call());
        Assert.True(refused.StatusCode == code, refused.ToString());
        IReadOnlyList<Problem> problems = Errors.Problems(refused);
        Assert.NotEmpty(problems);
        return problems;
    }
}
