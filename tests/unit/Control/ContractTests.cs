using Dataplane.Control.Api;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Google.Protobuf.Reflection;
using Grpc.Core;
using Resources = Dataplane.Control.Api.V1.Resources;

namespace Dataplane.UnitTests.Control;

/// <summary>
/// Every call of the API over a real socket, with an answer and with a refusal; and what holds for resources of every kind alike.
/// </summary>
public sealed class ContractTests : IAsyncLifetime
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    /// <summary>One of each kind, each after what it names, and how another version of it differs.</summary>
    private static readonly Dictionary<Kind, (Resource Resource, Action<Resource> Change, string Difference)> s_samples = new()
    {
        [Kind.Network] = (Make.Net("blue", "172.18.0.0/16", "172.18.0.1", n => n.Router = new Router()), r => r.Network.LearnLimit = 7, "learn_limit: 0 -> 7"),
        [Kind.Policy] = (ResourceKeys.Of(new Policy { Name = "tenant", Isolated = true }), r => r.Policy.Isolated = false, "isolated: true -> false"),
        [Kind.Port] = (Make.Tap("web", "blue", "172.18.0.2/16", "web"), r => r.Port.Isolated = true, "isolated: false -> true"),
        [Kind.StaticMac] = (Make.Mac("blue", "02:00:00:00:00:99", "web"), r => r.StaticMac.Drop = true, "port: web -> (default)"),
        [Kind.TunnelPeer] = (Make.Peer("far", "overlay", "192.0.2.20", "02:00:00:00:00:20"), r => r.TunnelPeer.Address = "192.0.2.21", "address: 192.0.2.20 -> 192.0.2.21"),
        [Kind.Neighbour] = (Make.Neighbour("blue", "172.18.0.77", "02:00:00:00:00:77"), r => r.Neighbour.Mac = "02:00:00:00:00:78", "mac: 02:00:00:00:00:77 -> 02:00:00:00:00:78"),
        [Kind.Route] = (Make.Route("10.9.0.0/16", "172.18.0.77"), r => r.Route.NextHops[0].Via = "172.18.0.78", "next_hops: "),
        [Kind.Service] = (Make.Service("shop", "10.96.0.10", "80->8080"), r => r.Service.ExternalIps.Add("198.51.100.7"), "external_ips: [] -> [198.51.100.7]"),
        [Kind.Backend] = (Make.Backend("shop", "172.18.0.2"), r => r.Backend.Weight = 3, "weight: "),
        [Kind.PublishedPort] = (Make.Published("pub", "172.18.0.2", 80, 8080), r => r.PublishedPort.HostPort = 8081, "host_port: 8080 -> 8081"),
    };

    private ServedApi _api = null!;

    private Resources.ResourcesClient Resources => _api.Resources;

    private Stats.StatsClient Stats => new(_api.Channel);

    public async Task InitializeAsync()
    {
        _api = await ServedApi.StartAsync();
        await ApplyAsync(
            [Make.Routed("uplink", "192.0.2.10/24"), Make.Net("overlay", "10.200.0.0/16", "10.200.0.1", n => (n.Router, n.Vxlan, n.Mtu) = (new Router(), new Vxlan { Vni = 7 }, 1450)),
             .. ResourceKeys.Kinds.Select(k => s_samples[k].Resource.Clone())]);
    }

    public async Task DisposeAsync() => await _api.DisposeAsync();

    public static TheoryData<Kind> Kinds => [.. ResourceKeys.Kinds];

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task OfEveryKindResourcesAreReadListedChangedAndDeleted(Kind kind)
    {
        (Resource sample, Action<Resource> change, string difference) = s_samples[kind];
        string name = sample.KeyName;
        Resource read = await Resources.GetAsync(new GetRequest { Kind = kind, Name = name });
        Assert.Equal((kind, name, 1ul), (read.Kind, read.Name, read.Revision));
        Assert.Equal(StatusCode.NotFound, await CodeOf(() => Resources.GetAsync(new GetRequest { Kind = kind, Name = "none" }).ResponseAsync));
        ListResponse listed = await Resources.ListAsync(new ListRequest { Kind = kind, Filter = new Filter { Name = name } });
        Assert.Equal([read], listed.Resources);
        Assert.Equal((1ul, ""), (listed.Revision, listed.NextPageToken));

        // As it was read it is no change; otherwise it is one, which a dry run tells and does not make.
        Assert.Equal(Change.Types.Action.Unchanged, Assert.Single((await ApplyAsync([read])).Changes).Action);
        Resource other = read.Clone();
        change(other);
        Change told = Assert.Single((await Resources.ApplyAsync(new ApplyRequest { Resources = { other }, DryRun = true })).Changes);
        Assert.Equal(Change.Types.Action.Updated, told.Action);
        Assert.Contains(told.Differences, d => d.StartsWith(difference, StringComparison.Ordinal));
        Assert.Equal(read, await Resources.GetAsync(new GetRequest { Kind = kind, Name = name }));
        ApplyResponse changed = await ApplyAsync([other]);
        Assert.Equal((Change.Types.Action.Updated, 2ul, 2ul), (changed.Changes[0].Action, changed.Revision, changed.Changes[0].Resource.Revision));

        // What was read before is out of date; what exists is not created.
        Assert.Equal(StatusCode.Aborted, await CodeOf(() => ApplyAsync([read])));
        Assert.Equal(StatusCode.AlreadyExists, await CodeOf(() => Resources.ApplyAsync(new ApplyRequest { Resources = { sample }, CreateOnly = true }).ResponseAsync));

        // All resources of all kinds go in one call; those of one kind only when nobody names them.
        var keys = ResourceKeys.Kinds.Select(k => new ResourceKey { Kind = k, Name = s_samples[k].Resource.KeyName }).ToList();
        DeleteResponse dry = await Resources.DeleteAsync(new DeleteRequest { Keys = { keys }, DryRun = true });
        Assert.All(dry.Changes, c => Assert.Equal(Change.Types.Action.Deleted, c.Action));
        DeleteResponse deleted = await Resources.DeleteAsync(new DeleteRequest { Keys = { keys } });
        Assert.Equal((keys.Count, 3ul), (deleted.Changes.Count, deleted.Revision));
        Assert.Equal(StatusCode.NotFound, await CodeOf(() => Resources.DeleteAsync(new DeleteRequest { Keys = { keys } }).ResponseAsync));
        Assert.Equal(3ul, (await Resources.DeleteAsync(new DeleteRequest { Keys = { keys }, IgnoreMissing = true })).Revision);
    }

    /// <summary>Each of them is watched: as it is, when it changes, when it goes.</summary>
    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task OfEveryKindResourcesAreWatched(Kind kind)
    {
        using var patience = new CancellationTokenSource(Patience);
        using AsyncServerStreamingCall<WatchEvent> watch = Resources.Watch(new WatchRequest { Kinds = { kind } }, cancellationToken: patience.Token);
        var events = new List<(WatchEvent.Types.Type, string)>();
        while (events.Count == 0 || events[^1].Item1 != WatchEvent.Types.Type.Synced)
        {
            events.Add(await NextAsync());
        }
        string name = s_samples[kind].Resource.KeyName;
        Assert.Contains((WatchEvent.Types.Type.Snapshot, name), events);
        Resource other = s_samples[kind].Resource.Clone();
        s_samples[kind].Change(other);
        await ApplyAsync([other]);
        Assert.Equal((WatchEvent.Types.Type.Updated, name), await NextAsync());
        await Resources.DeleteAsync(new DeleteRequest { Keys = { ResourceKeys.Kinds.Select(k => new ResourceKey { Kind = k, Name = s_samples[k].Resource.KeyName }) } });
        Assert.Equal((WatchEvent.Types.Type.Deleted, name), await NextAsync());

        async Task<(WatchEvent.Types.Type, string)> NextAsync()
        {
            Assert.True(await watch.ResponseStream.MoveNext(patience.Token));
            return (watch.ResponseStream.Current.Type, watch.ResponseStream.Current.Resource?.Name ?? "");
        }
    }

    [Fact]
    public void EveryCallHasATest() => Assert.Equal(
        DataplaneReflection.Descriptor.Services.SelectMany(s => s.Methods).Select(m => $"{m.Service.Name}.{m.Name}").Order(),
        Calls.Select(c => (string)c[0]).Order());

    public static IEnumerable<object[]> Calls =>
    [
        ["Resources.Get", Call(async t => Assert.Equal("blue", (await t.Resources.GetAsync(new GetRequest { Kind = Kind.Network, Name = "blue" })).Name)),
            StatusCode.InvalidArgument, Call(t => t.Resources.GetAsync(new GetRequest { Name = "blue" }).ResponseAsync)],
        ["Resources.List", Call(async t => Assert.Equal(2, (await t.Resources.ListAsync(new ListRequest { Kind = Kind.Network })).Resources.Count)),
            StatusCode.InvalidArgument, Call(t => t.Resources.ListAsync(new ListRequest()).ResponseAsync)],
        ["Resources.Apply", Call(async t => Assert.Equal(2ul, (await t.ApplyAsync([Make.Net("red")])).Revision)),
            StatusCode.InvalidArgument, Call(t => t.ApplyAsync([Make.Net("red", "x")]))],
        ["Resources.Delete", Call(async t => Assert.Equal(2ul, (await t.Resources.DeleteAsync(new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Route, Name = "main/10.9.0.0/16" } } })).Revision)),
            StatusCode.FailedPrecondition, Call(t => t.Resources.DeleteAsync(new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Service, Name = "shop" } } }).ResponseAsync)],
        ["Resources.Push", Call(async t => Assert.Equal(new PushResponse { Sequence = 5, Revision = 2, Changed = 1 }, await t.PushAsync(new PushRequest { Sequence = 5, Resources = { Make.Net("red") } }))),
            StatusCode.Aborted, Call(t => t.PushAsync(new PushRequest { Resources = { Make.Net("red", "x") }, StopOnError = true }, responses: 2))],
        ["Resources.Watch", Call(async t => Assert.Equal(WatchEvent.Types.Type.Snapshot, (await First(t.Resources.Watch(new WatchRequest()))).Type)),
            StatusCode.OutOfRange, Call(t => First(t.Resources.Watch(new WatchRequest { FromRevision = 99 })))],
        ["Stats.GetEngine", Call(async t => Assert.Equal("test", (await t.Stats.GetEngineAsync(new GetEngineRequest())).Instance)), StatusCode.OK, None],
        ["Stats.GetPorts", Call(async t => Assert.Equal(5, (await t.Stats.GetPortsAsync(new GetPortsRequest())).Ports.Count)),
            StatusCode.NotFound, Call(t => t.Stats.GetPortsAsync(new GetPortsRequest { Ports = { "none" } }).ResponseAsync)],
        ["Stats.GetDrops", Call(async t => Assert.Equal(DropReasons.All.Count(), (await t.Stats.GetDropsAsync(new GetDropsRequest { All = true })).Drops.Count)),
            StatusCode.NotFound, Call(t => t.Stats.GetDropsAsync(new GetDropsRequest { Port = "none" }).ResponseAsync)],
        ["Stats.GetWorkers", Call(async t => Assert.Empty((await t.Stats.GetWorkersAsync(new GetWorkersRequest())).Workers)), StatusCode.OK, None],
        ["Stats.GetQueues", Call(async t => Assert.Equal(new QueueList { Queues = { new Queue { Port = "web" } } }, await t.Stats.GetQueuesAsync(new GetQueuesRequest { Ports = { "web" } }))),
            StatusCode.NotFound, Call(t => t.Stats.GetQueuesAsync(new GetQueuesRequest { Ports = { "none" } }).ResponseAsync)],
        ["Stats.ListMacs", Call(async t => Assert.Equal("web", (await First(t.Stats.ListMacs(new ListMacsRequest { Mac = "02:00:00:00:00:99" }))).Port)),
            StatusCode.NotFound, Call(t => First(t.Stats.ListMacs(new ListMacsRequest { Network = "none" })))],
        ["Stats.ListRoutes", Call(async t => Assert.Contains(await AllOf(t.Stats.ListRoutes(new ListRoutesRequest())), r => r.Prefix == "10.9.0.0/16" && r.Origin == TableRoute.Types.Origin.Operator)),
            StatusCode.NotFound, Call(t => First(t.Stats.ListRoutes(new ListRoutesRequest { Vrf = "none" })))],
        ["Stats.LookupRoute", Call(async t => Assert.Equal("10.9.0.0/16", (await t.Stats.LookupRouteAsync(new LookupRouteRequest { Address = "10.9.1.2" })).Route.Prefix)),
            StatusCode.InvalidArgument, Call(t => t.Stats.LookupRouteAsync(new LookupRouteRequest { Address = "x" }).ResponseAsync)],
        ["Stats.ListNeighbours", Call(async t => Assert.Equal("02:00:00:00:00:77", (await First(t.Stats.ListNeighbours(new ListNeighboursRequest { Address = "172.18.0.77" }))).Mac)),
            StatusCode.NotFound, Call(t => First(t.Stats.ListNeighbours(new ListNeighboursRequest { Network = "none" })))],
        ["Stats.ListConnections", Call(async t =>
            {
                t.InsertConnection();
                Assert.Equal("shop", (await First(t.Stats.ListConnections(new ListConnectionsRequest { Service = "shop" }))).Service);
                Assert.Empty(await AllOf(t.Stats.ListConnections(new ListConnectionsRequest { PublishedPort = "pub" })));
            }),
            StatusCode.NotFound, Call(t => First(t.Stats.ListConnections(new ListConnectionsRequest { Service = "none" })))],
        ["Stats.GetConnections", Call(async t => Assert.Equal(0ul, (await t.Stats.GetConnectionsAsync(new GetConnectionsRequest())).Connections)), StatusCode.OK, None],
        ["Stats.WatchEvents", Call(async t =>
            {
                t._api.Bench.Controller.Events.Add(new Event { Type = Event.Types.Type.PortLost, Port = "web" });
                Assert.Equal("web", Assert.Single(await AllOf(t.Stats.WatchEvents(new WatchEventsRequest { NoFollow = true }))).Port);
            }),
            StatusCode.DeadlineExceeded, Call(t => First(t.Stats.WatchEvents(new WatchEventsRequest(), deadline: DateTime.UtcNow.AddMilliseconds(50))))],
        ["Inspection.Capture", Call(t => t.CaptureAsync(new CaptureRequest { Ports = { "web" } })),
            StatusCode.InvalidArgument, Call(t => t.CaptureAsync(new CaptureRequest { Filter = "nonsense and" }))],
        ["Inspection.Trace", Call(async t =>
            {
                using AsyncServerStreamingCall<TracedPacket> trace = new Inspection.InspectionClient(t._api.Channel).Trace(new TraceRequest { Ports = { "web" } });
                await trace.ResponseHeadersAsync; // it is open now
            }),
            StatusCode.NotFound, Call(t => First(new Inspection.InspectionClient(t._api.Channel).Trace(new TraceRequest { Ports = { "none" } })))],
        ["Mac.Flush", Call(async t => Assert.Equal(0u, (await new Mac.MacClient(t._api.Channel).FlushAsync(new FlushRequest { Network = "blue" })).Flushed)),
            StatusCode.NotFound, Call(t => new Mac.MacClient(t._api.Channel).FlushAsync(new FlushRequest { Network = "none" }).ResponseAsync)],
        ["Admin.EnablePort", Call(async t => Assert.Equal("web", (await new Admin.AdminClient(t._api.Channel).EnablePortAsync(new EnablePortRequest { Port = "web" })).Name)),
            StatusCode.NotFound, Call(t => new Admin.AdminClient(t._api.Channel).EnablePortAsync(new EnablePortRequest { Port = "none" }).ResponseAsync)],
        ["Admin.AssignQueue", Call(async t => Assert.Equal(
            1u, Assert.Single((await new Admin.AdminClient(t._api.Channel).AssignQueueAsync(new AssignQueueRequest { Port = "web", Worker = 1 })).Queues).Worker)),
            StatusCode.FailedPrecondition, Call(t => new Admin.AdminClient(t._api.Channel).AssignQueueAsync(new AssignQueueRequest { Port = "web", Queue = 1 }).ResponseAsync)],
        ["Admin.Stop", Call(async t =>
            {
                await new Admin.AdminClient(t._api.Channel).StopAsync(new StopRequest { KeepEngine = true });
                Assert.True(await t._api.Stop.Requested.WaitAsync(Patience));
            }), StatusCode.OK, None],
    ];

    [Theory]
    [MemberData(nameof(Calls))]
    public async Task ACallAnswersAndRefuses(string call, object answers, StatusCode code, object refuses)
    {
        if (refuses is Func<ContractTests, Task> refused && !ReferenceEquals(refused, None))
        {
            RpcException error = await Assert.ThrowsAsync<RpcException>(() => refused(this));
            Assert.True(error.StatusCode == code, $"{call}: {error}");
            Assert.True(code == StatusCode.DeadlineExceeded || error.Status.Detail.Length > 0, $"{call} says nothing");
            Assert.Equal(1ul, _api.Bench.Controller.State.Revision);
        }
        await ((Func<ContractTests, Task>)answers)(this).WaitAsync(Patience);
    }

    private static Func<ContractTests, Task> None { get; } = _ => Task.CompletedTask;

    private static Func<ContractTests, Task> Call(Func<ContractTests, Task> call) => call;

    private static async Task<StatusCode> CodeOf(Func<Task> call) => (await Assert.ThrowsAsync<RpcException>(call)).StatusCode;

    private Task<ApplyResponse> ApplyAsync(IEnumerable<Resource> resources) => Resources.ApplyAsync(new ApplyRequest { Resources = { resources } }).ResponseAsync;

    /// <summary>One batch; gives the last of so many responses.</summary>
    private async Task<PushResponse?> PushAsync(PushRequest batch, int responses = 1)
    {
        using AsyncDuplexStreamingCall<PushRequest, PushResponse> push = Resources.Push();
        await push.RequestStream.WriteAsync(batch);
        PushResponse? last = null;
        for (int i = 0; i < responses && await push.ResponseStream.MoveNext(CancellationToken.None); i++)
        {
            last = push.ResponseStream.Current;
        }
        return last;
    }

    /// <summary>The file begins at once, and ends when the caller ends.</summary>
    private async Task CaptureAsync(CaptureRequest request)
    {
        using AsyncDuplexStreamingCall<CaptureRequest, CaptureChunk> capture = new Inspection.InspectionClient(_api.Channel).Capture();
        await capture.RequestStream.WriteAsync(request);
        Assert.True(await capture.ResponseStream.MoveNext(CancellationToken.None));
        // The magic number of a section header block, draft-ietf-opsawg-pcapng.
        Assert.Equal([0x0A, 0x0D, 0x0D, 0x0A], capture.ResponseStream.Current.Pcapng.Take(4));
        await capture.RequestStream.CompleteAsync();
        while (await capture.ResponseStream.MoveNext(CancellationToken.None))
        {
        }
    }

    private static async Task<T> First<T>(AsyncServerStreamingCall<T> call)
    {
        using (call)
        {
            Assert.True(await call.ResponseStream.MoveNext(CancellationToken.None), "nothing came");
            return call.ResponseStream.Current;
        }
    }

    private static async Task<List<T>> AllOf<T>(AsyncServerStreamingCall<T> call)
    {
        using (call)
        {
            return await call.ResponseStream.ReadAllAsync().ToListAsync();
        }
    }

    /// <summary>A client of the service "shop".</summary>
    private void InsertConnection()
    {
        Segment segment = _api.Bench.Segment;
        FrontendKey key = FrontendKey.Of4(1, Wire.ProtocolTcp, 0x0A60_000A, 80);
        var connection = new NewConnection
        {
            Original = ConnectionKey.Of4(1, Wire.ProtocolTcp, 0xAC12_0009, 0x0A60_000A, 40_000, 80),
            Reply = ConnectionKey.Of4(1, Wire.ProtocolTcp, 0xAC12_0002, 0xAC12_0009, 8080, 40_000),
            Frontend = (uint)segment.ServiceTable.Find(in key, segment.Generation),
            Signal = TcpHeader.Syn,
        };
        Assert.Equal(InsertResult.Inserted, segment.Connections.TryInsert(in connection, (uint)(Environment.TickCount64 / 1000), out _));
    }
}
