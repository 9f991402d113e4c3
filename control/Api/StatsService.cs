using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Api;

/// <summary>The service Stats: counters and state of the engine.</summary>
public sealed class StatsService(Controller controller, CounterReader counters, InstanceInfo instance) : Stats.StatsBase
{
    /// <summary>Buckets of the MAC table read between two looks at the stream: a listing of a million never blocks for long.</summary>
    private const int Slice = 4096;

    public override Task<EngineStatus> GetEngine(GetEngineRequest request, ServerCallContext context)
    {
        EngineStatus status = counters.Engine(controller.State, instance);
        status.Store = controller.StoreStatus;
        status.Flannel = instance.Flannel?.Invoke();
        return Task.FromResult(status);
    }

    public override Task<PortStats> GetPorts(GetPortsRequest request, ServerCallContext context)
    {
        DesiredState state = controller.State;
        var answer = new PortStats();
        foreach (NamedPort port in Find(state, request.Ports))
        {
            answer.Ports.Add(counters.Port(port));
        }
        return Task.FromResult(answer);
    }

    public override Task<WorkerStats> GetWorkers(GetWorkersRequest request, ServerCallContext context) => Task.FromResult(counters.Workers());

    public override Task<QueueList> GetQueues(GetQueuesRequest request, ServerCallContext context) =>
        controller.QueuesAsync(request.Ports, context.CancellationToken);

    public override Task<DropStats> GetDrops(GetDropsRequest request, ServerCallContext context)
    {
        IEnumerable<NamedPort>? ports = request.Port.Length > 0 ? Find(controller.State, [request.Port]) : null;
        var answer = new DropStats();
        answer.Drops.AddRange(counters.Drops(ports?.Select(p => p.Index), request.All));
        return Task.FromResult(answer);
    }

    public override async Task ListMacs(ListMacsRequest request, IServerStreamWriter<MacEntry> stream, ServerCallContext context)
    {
        DesiredState state = controller.State;
        MacListing listing = MacListing.Of(state, controller.Segment, request);
        for (int bucket = 0; bucket < listing.Buckets; bucket += Slice)
        {
            foreach (MacEntry entry in listing.Read(bucket, Slice))
            {
                await stream.WriteAsync(entry, context.CancellationToken);
            }
        }
    }

    public override async Task ListRoutes(ListRoutesRequest request, IServerStreamWriter<TableRoute> stream, ServerCallContext context)
    {
        foreach (TableRoute route in new RouteListing(controller.State, controller.Status).Read(request.Vrf, request.Local))
        {
            await stream.WriteAsync(route, context.CancellationToken);
        }
    }

    public override Task<RouteLookup> LookupRoute(LookupRouteRequest request, ServerCallContext context) =>
        Task.FromResult(RouteLookups.Find(controller.State, controller.Segment, controller.Status, request));

    public override async Task ListNeighbours(ListNeighboursRequest request, IServerStreamWriter<NeighbourEntry> stream, ServerCallContext context)
    {
        var listing = new NeighbourListing(controller.State, controller.Segment, request);
        for (int bucket = 0; bucket < listing.Buckets; bucket += Slice)
        {
            foreach (NeighbourEntry entry in listing.Read(bucket, Slice))
            {
                await stream.WriteAsync(entry, context.CancellationToken);
            }
        }
    }

    public override async Task ListConnections(ListConnectionsRequest request, IServerStreamWriter<Connection> stream, ServerCallContext context)
    {
        var listing = new ConnectionListing(controller.State, controller.Segment, request);
        foreach (bool ipv6 in new[] { false, true })
        {
            for (uint slot = 0; slot < listing.Slots(ipv6); slot += Slice)
            {
                foreach (Connection connection in listing.Read(ipv6, slot, Slice))
                {
                    await stream.WriteAsync(connection, context.CancellationToken);
                }
            }
        }
    }

    public override Task<ConnectionTableStats> GetConnections(GetConnectionsRequest request, ServerCallContext context) =>
        Task.FromResult(ConnectionListing.Statistics(controller.Segment));

    public override async Task WatchEvents(WatchEventsRequest request, IServerStreamWriter<Event> stream, ServerCallContext context)
    {
        if (request.NoFollow)
        {
            foreach (Event recent in controller.Events.Recent())
            {
                await stream.WriteAsync(recent, context.CancellationToken);
            }
            return;
        }
        await foreach (Event happened in controller.Events.Follow(context.CancellationToken))
        {
            await stream.WriteAsync(happened, context.CancellationToken);
        }
    }

    private static IEnumerable<NamedPort> Find(DesiredState state, IReadOnlyCollection<string> names)
    {
        if (names.Count == 0)
        {
            return state.Topology.Ports;
        }
        var problems = new ProblemCollector();
        foreach (string name in names.Where(n => state.Topology.Find(n) is null))
        {
            problems.Add(Kind.Port, name, "name", "does not exist", code: StatusCode.NotFound);
        }
        return problems.Any ? throw problems.ToException() : names.Select(n => state.Topology.Find(n)!);
    }
}
