using System.Net.Sockets;
using Dataplane.Control.Api;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Observation;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Grpc.Reflection.V1Alpha;
using Microsoft.Extensions.Logging.Abstractions;
using MacEntry = Dataplane.Control.Api.V1.MacEntry;
using PortCounters = Dataplane.Control.Api.V1.PortCounters;

namespace Dataplane.UnitTests.Control;

/// <summary>The contract of the API, over a real unix socket; behind it private memory and an engine of cardboard.</summary>
public sealed class ApiTests : IAsyncLifetime
{
    private readonly Bench _bench = new();
    private readonly StopRequests _stop = new();
    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private ApiServer _server = null!;
    private GrpcChannel _channel = null!;

    private string Socket => Path.Combine(_directory, "api.sock");
    private Resources.ResourcesClient Resources => new(_channel);
    private Stats.StatsClient Stats => new(_channel);

    public async Task InitializeAsync()
    {
        var instance = new InstanceInfo("test", "", "", DateTimeOffset.UtcNow);
        var counters = new CounterReader(_bench.Segment, _bench.Engine, TimeProvider.System);
        _server = await ApiServer.StartAsync(Socket, new ApiAccess(), _bench.Controller, counters, new CaptureHub(_bench.Segment), instance, _stop, NullLoggerFactory.Instance);
        _channel = GrpcChannel.ForAddress("http://localhost", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler
            {
                ConnectCallback = async (_, cancel) =>
                {
                    var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                    await socket.ConnectAsync(new UnixDomainSocketEndPoint(Socket), cancel);
                    return new NetworkStream(socket, ownsSocket: true);
                },
            },
        });
    }

    public async Task DisposeAsync()
    {
        _channel.Dispose();
        await _server.DisposeAsync();
        _bench.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    [System.Runtime.Versioning.UnsupportedOSPlatform("windows")]
    public void TheSocketIsForItsOwnerOnly() => Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(Socket));

    [Fact]
    public async Task ResourcesAreCreatedReadChangedAndDeleted()
    {
        ApplyResponse created = await Apply(Make.Net("blue", "172.18.0.0/16"), Make.Tap("web", "blue", "172.18.0.2/16", "web"));
        Assert.Equal(1ul, created.Revision);
        Assert.Equal([Change.Types.Action.Created, Change.Types.Action.Created], created.Changes.Select(c => c.Action));
        Assert.Equal(PortStatus.Types.State.Up, created.Changes[1].Resource.Port.Status.State);

        Resource read = await Resources.GetAsync(new GetRequest { Kind = Kind.Port, Name = "web" });
        Assert.Equal(created.Changes[1].Resource, read);
        read.Port.Isolated = true;
        ApplyResponse changed = await Apply(read);
        Assert.Equal(["isolated: false -> true"], changed.Changes[0].Differences);

        Network network = (await Resources.GetAsync(new GetRequest { Kind = Kind.Network, Name = "blue" })).Network;
        Assert.Equal((1u, 1u, 1ul), (network.Status.Ports, network.Status.Index, network.Revision));

        var delete = new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Port, Name = "web" }, new ResourceKey { Kind = Kind.Network, Name = "blue" } } };
        DeleteResponse deleted = await Resources.DeleteAsync(delete);
        Assert.Equal(3ul, deleted.Revision);
        Assert.Equal(StatusCode.NotFound, (await Refused(() => Resources.GetAsync(new GetRequest { Kind = Kind.Port, Name = "web" }).ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task ARefusalListsEveryProblemInTextAndInDetails()
    {
        RpcException error = await Refused(() => Apply(Make.Net("blue", "172.18.0.1/16"), Make.Tap("web", "red", "x")));
        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
        Assert.Equal(3, error.Status.Detail.Split('\n').Length);
        IReadOnlyList<Problem> problems = Errors.Problems(error);
        Assert.Equal([(Kind.Network, "blue", "subnets[0]"), (Kind.Port, "web", "network"), (Kind.Port, "web", "tap.addresses[0]")], problems.Select(p => (p.Kind, p.Name, p.Field)));
        Assert.Equal("write 172.18.0.0/16", problems[0].Fix);
        Assert.Equal(0ul, (await Resources.ListAsync(new ListRequest { Kind = Kind.Network })).Revision);
    }

    [Fact]
    public async Task ADryRunTellsAndDoesNothing()
    {
        ApplyResponse response = await Resources.ApplyAsync(new ApplyRequest { Resources = { Make.Net("blue") }, DryRun = true });
        Assert.Equal(Change.Types.Action.Created, response.Changes[0].Action);
        Assert.Empty((await Resources.ListAsync(new ListRequest { Kind = Kind.Network })).Resources);
    }

    [Fact]
    public async Task ListsHavePagesAndFilters()
    {
        await Apply([Make.Net("a"), Make.Net("b"), .. Enumerable.Range(0, 25).Select(i => Make.Memory($"p{i:00}", i % 5 == 0 ? "b" : "a"))]);
        var names = new List<string>();
        var request = new ListRequest { Kind = Kind.Port, PageSize = 10 };
        int pages = 0;
        do
        {
            ListResponse page = await Resources.ListAsync(request);
            names.AddRange(page.Resources.Select(r => r.Port.Name));
            request.PageToken = page.NextPageToken;
            pages++;
        }
        while (request.PageToken.Length > 0);
        Assert.Equal(3, pages);
        Assert.Equal(Enumerable.Range(0, 25).Select(i => $"p{i:00}"), names);

        ListResponse ofB = await Resources.ListAsync(new ListRequest { Kind = Kind.Port, Filter = new Filter { Network = "b", Name = "p1*" } });
        Assert.Equal(["p10", "p15"], ofB.Resources.Select(r => r.Port.Name));
        Assert.Equal(StatusCode.InvalidArgument, (await Refused(() => Resources.ListAsync(new ListRequest()).ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task AWatchBeginsWithASnapshotThenAMarkerThenChanges()
    {
        await Apply(Make.Net("blue"), Make.Memory("a", "blue"));
        using var call = Resources.Watch(new WatchRequest());
        await ExpectAsync(call, WatchEvent.Types.Type.Snapshot, "blue", 1);
        await ExpectAsync(call, WatchEvent.Types.Type.Snapshot, "a", 1);
        await ExpectAsync(call, WatchEvent.Types.Type.Synced, "", 1);
        await Apply(Make.Memory("b", "blue"));
        await ExpectAsync(call, WatchEvent.Types.Type.Created, "b", 2);
        await Apply(Make.Memory("a", "blue", p => p.Isolated = true));
        await ExpectAsync(call, WatchEvent.Types.Type.Updated, "a", 3);
        await Resources.DeleteAsync(new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Port, Name = "b" } } });
        await ExpectAsync(call, WatchEvent.Types.Type.Deleted, "b", 4);
    }

    [Fact]
    public async Task NodesAreListedAndNotApplied()
    {
        ListResponse list = await Resources.ListAsync(new ListRequest { Kind = Kind.Node });
        Node self = Assert.Single(list.Resources).Node;
        Assert.Equal((Environment.MachineName, true, true, 0u), (self.Name, self.Self, self.Online, self.Ports));
        Assert.Equal(self, (await Resources.GetAsync(new GetRequest { Kind = Kind.Node, Name = self.Name })).Node);
        Assert.Equal(StatusCode.NotFound, (await Assert.ThrowsAsync<RpcException>(() => Resources.GetAsync(new GetRequest { Kind = Kind.Node, Name = "other" }).ResponseAsync)).StatusCode);
        Assert.Empty((await Resources.ListAsync(new ListRequest { Kind = Kind.Node, Filter = new Filter { Name = "?" + self.Name } })).Resources);

        using AsyncServerStreamingCall<WatchEvent> watch = Resources.Watch(new WatchRequest { Kinds = { Kind.Node } });
        Assert.True(await watch.ResponseStream.MoveNext(CancellationToken.None));
        Assert.Equal((WatchEvent.Types.Type.Snapshot, self), (watch.ResponseStream.Current.Type, watch.ResponseStream.Current.Resource.Node));

        RpcException applied = await Assert.ThrowsAsync<RpcException>(() => Resources.ApplyAsync(new ApplyRequest { Resources = { new Resource { Node = new Node { Name = "x" } }, Make.Net("n") } }).ResponseAsync);
        RpcException deleted = await Assert.ThrowsAsync<RpcException>(() => Resources.DeleteAsync(new DeleteRequest { Keys = { new ResourceKey { Kind = Kind.Node, Name = self.Name } } }).ResponseAsync);
        Assert.Equal((StatusCode.InvalidArgument, StatusCode.InvalidArgument), (applied.StatusCode, deleted.StatusCode));
        Assert.Equal("node \"x\": nodes tell of themselves: they are listed and watched, not applied or deleted", applied.Status.Detail);
        Assert.Empty((await Resources.ListAsync(new ListRequest { Kind = Kind.Network })).Resources);
    }

    [Fact]
    public async Task AWatchTellsOfStatus()
    {
        await Apply(Make.Net("blue"), Make.Tap("web", "blue", "", "web"));
        await _bench.Controller.TickAsync(CancellationToken.None);
        using var call = Resources.Watch(new WatchRequest { Kinds = { Kind.Port } });
        await ExpectAsync(call, WatchEvent.Types.Type.Snapshot, "web", 1);
        await ExpectAsync(call, WatchEvent.Types.Type.Synced, "", 1);
        _bench.Devices.Existing["web/eth0"].Lost = "device \"eth0\" was deleted";
        _bench.Devices.Namespaces.Remove("web");
        await _bench.Controller.TickAsync(CancellationToken.None);
        WatchEvent change = await ExpectAsync(call, WatchEvent.Types.Type.Status, "web", 1);
        Assert.Equal(PortStatus.Types.State.Lost, change.Resource.Port.Status.State);
    }

    [Fact]
    public async Task AWatchGoesOnFromARevisionOrSaysThatItCannot()
    {
        await Apply(Make.Net("a"));
        await Apply(Make.Net("b"));
        using var call = Resources.Watch(new WatchRequest { FromRevision = 2, Kinds = { Kind.Network } });
        await ExpectAsync(call, WatchEvent.Types.Type.Created, "b", 2);
        await ExpectAsync(call, WatchEvent.Types.Type.Synced, "", 2);
        using var ahead = Resources.Watch(new WatchRequest { FromRevision = 99 });
        Assert.Equal(StatusCode.OutOfRange, (await Refused(() => ahead.ResponseStream.MoveNext(CancellationToken.None))).StatusCode);
    }

    [Fact]
    public async Task CountersBalanceAndDropsHaveReasons()
    {
        await Apply(Make.Net("blue"), Make.Memory("a", "blue"));
        Count(worker: 0, port: 1, rx: 10, forwarded: 7, DropReason.StormControl, 3);
        Count(worker: 1, port: 1, rx: 5, forwarded: 4, DropReason.Isolated, 1);
        PortCounters port = Assert.Single((await Stats.GetPortsAsync(new GetPortsRequest())).Ports);
        Assert.Equal((15ul, 11ul, 4ul), (port.RxPackets, port.Forwarded, port.IngressDrops));
        Assert.Equal(port.RxPackets, port.Forwarded + port.Consumed + port.Held + port.IngressDrops);
        Assert.Equal([("isolated", 1ul), ("storm-control", 3)], port.Drops.Select(d => (d.Reason, d.Packets)));

        DropStats drops = await Stats.GetDropsAsync(new GetDropsRequest { All = true });
        Assert.Equal(DropReasons.All.Count(), drops.Drops.Count);
        Assert.All(drops.Drops, d => Assert.NotEmpty(d.Text));
        Assert.Equal(StatusCode.NotFound, (await Refused(() => Stats.GetDropsAsync(new GetDropsRequest { Port = "x" }).ResponseAsync)).StatusCode);
    }

    [Fact]
    public async Task TheMacTableIsListedAndFlushed()
    {
        await Apply(
            Make.Net("blue"), Make.Net("tagged", more: n => n.VlanFiltering = true), Make.Memory("a", "blue"), Make.Memory("b", "tagged"),
            Make.Mac("blue", "02:00:00:00:00:99", "a"), Make.Mac("blue", "02:00:00:00:00:98"));
        Learn(fid: 1, "02:00:00:00:00:01", port: 1);
        Learn(fid: 4096 + 7, "02:00:00:00:00:02", port: 2);

        List<MacEntry> all = await Macs(new ListMacsRequest());
        Assert.Equal(4, all.Count);
        MacEntry learned = all.Single(e => e.Mac == "02:00:00:00:00:02");
        Assert.Equal(("tagged", 7u, "b", false), (learned.Network, learned.Vlan, learned.Port, learned.IsStatic));
        Assert.True(all.Single(e => e.Mac.EndsWith("98", StringComparison.Ordinal)) is { IsStatic: true, Drop: true, Port: "" });
        Assert.Equal(2, (await Macs(new ListMacsRequest { Port = "a" })).Count);
        Assert.Single(await Macs(new ListMacsRequest { Network = "tagged" }));
        Assert.Single(await Macs(new ListMacsRequest { Mac = "02:00:00:00:00:98" }));
        Assert.Equal(StatusCode.InvalidArgument, (await Refused(() => Macs(new ListMacsRequest { Mac = "x" }))).StatusCode);
        Assert.Equal(StatusCode.NotFound, (await Refused(() => Macs(new ListMacsRequest { Network = "x" }))).StatusCode);

        var macs = new Mac.MacClient(_channel);
        Assert.Equal(0u, (await macs.FlushAsync(new FlushRequest { Network = "tagged", Vlan = 8 })).Flushed);
        Assert.Equal(1u, (await macs.FlushAsync(new FlushRequest { Network = "tagged", Vlan = 7 })).Flushed);
        Assert.Equal(1u, (await macs.FlushAsync(new FlushRequest())).Flushed);
        Assert.Equal(2, (await Macs(new ListMacsRequest())).Count);
    }

    [Fact]
    public async Task EventsOfWorkersAreTold()
    {
        await Apply(Make.Net("blue"), Make.Memory("a", "blue"), Make.Memory("b", "blue"));
        using var call = Stats.WatchEvents(new WatchEventsRequest());
        var flap = new EventRecord { Kind = EventKind.MacFlap, Port = 1, OtherPort = 2, Bridge = 1, Mac = MacAddress.Parse("02:00:00:00:00:01").Value };
        Assert.True(EventRing.TryWrite(ref _bench.Segment.Events(3), in flap));
        Assert.Equal(1, new EventPump(_bench.Segment, () => _bench.Controller.State, _bench.Controller.Events).Pump());
        Assert.True(await call.ResponseStream.MoveNext(CancellationToken.None));
        Event told = call.ResponseStream.Current;
        Assert.Equal((Event.Types.Type.MacFlap, "a", "b", "blue", "02:00:00:00:00:01"), (told.Type, told.Port, told.OtherPort, told.Network, told.Mac));
        Assert.Contains("between ports \"b\" and \"a\"", told.Text, StringComparison.Ordinal);
    }

    [Fact]
    public async Task TheEnginesStateIsTold()
    {
        _bench.Segment.Header.EngineHeartbeat = (ulong)System.Diagnostics.Stopwatch.GetTimestamp();
        EngineStatus status = await Stats.GetEngineAsync(new GetEngineRequest());
        Assert.Equal((EngineStatus.Types.State.Running, "test"), (status.State, status.Instance));
        _bench.Segment.Header.EngineHeartbeat -= 5_000_000_000;
        status = await Stats.GetEngineAsync(new GetEngineRequest());
        Assert.Equal(EngineStatus.Types.State.Stalled, status.State);
        _bench.Engine.WhyUnavailable = "the engine ended";
        status = await Stats.GetEngineAsync(new GetEngineRequest());
        Assert.Equal((EngineStatus.Types.State.Starting, "the engine ended"), (status.State, status.Reason));
    }

    [Fact]
    public async Task ADeadlineIsHonouredAndAStreamCanBeCancelled()
    {
        using var call = Stats.WatchEvents(new WatchEventsRequest(), deadline: DateTime.UtcNow.AddMilliseconds(100));
        Assert.Equal(StatusCode.DeadlineExceeded, (await Refused(() => call.ResponseStream.MoveNext(CancellationToken.None))).StatusCode);
    }

    [Fact]
    public async Task ReflectionAndHealthAnswer()
    {
        using var reflection = new ServerReflection.ServerReflectionClient(_channel).ServerReflectionInfo();
        await reflection.RequestStream.WriteAsync(new ServerReflectionRequest { ListServices = "" });
        Assert.True(await reflection.ResponseStream.MoveNext(CancellationToken.None));
        Assert.Superset(
            new HashSet<string> { "dataplane.v1.Resources", "dataplane.v1.Stats", "dataplane.v1.Mac", "dataplane.v1.Admin" },
            reflection.ResponseStream.Current.ListServicesResponse.Service.Select(s => s.Name).ToHashSet());
        await reflection.RequestStream.CompleteAsync();

        var health = new Health.HealthClient(_channel);
        for (int i = 0; i < 600; i++)
        {
            if ((await health.CheckAsync(new HealthCheckRequest())).Status == HealthCheckResponse.Types.ServingStatus.Serving)
            {
                return;
            }
            await Task.Delay(50);
        }
        Assert.Fail("never healthy");
    }

    [Fact]
    public async Task StopIsHandedOn()
    {
        await new Admin.AdminClient(_channel).StopAsync(new StopRequest { KeepEngine = true });
        Assert.True(await _stop.Requested.WaitAsync(TimeSpan.FromSeconds(10)));
    }

    private async Task<ApplyResponse> Apply(params Resource[] resources)
    {
        var request = new ApplyRequest();
        request.Resources.AddRange(resources);
        return await Resources.ApplyAsync(request);
    }

    private async Task<List<MacEntry>> Macs(ListMacsRequest request)
    {
        using var call = Stats.ListMacs(request);
        var all = new List<MacEntry>();
        await foreach (MacEntry entry in call.ResponseStream.ReadAllAsync())
        {
            all.Add(entry);
        }
        return all;
    }

    private void Learn(uint fid, string mac, ushort port) =>
        _bench.Segment.Macs.Learn(MacTable.Key(fid, MacAddress.Parse(mac).Value), port, 1, allowNew: true, out _);

    private unsafe void Count(int worker, int port, ulong rx, ulong forwarded, DropReason reason, ulong drops)
    {
        ref Dataplane.Memory.PortCounters counters = ref _bench.Segment.Counters(worker)[port];
        counters.RxPackets = rx;
        counters.Forwarded = forwarded;
        counters.Drops[(int)reason] = drops;
    }

    private static async Task<WatchEvent> ExpectAsync(AsyncServerStreamingCall<WatchEvent> call, WatchEvent.Types.Type type, string name, ulong revision)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
        Assert.True(await call.ResponseStream.MoveNext(patience.Token));
        WatchEvent change = call.ResponseStream.Current;
        Assert.Equal((type, name, revision), (change.Type, change.Resource?.Name ?? "", change.Revision));
        return change;
    }

    private static async Task<RpcException> Refused(Func<Task> call) => await Assert.ThrowsAsync<RpcException>(call);
}
