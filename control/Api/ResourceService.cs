using Dataplane.Control.Api.Access;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Api;

/// <summary>The service Resources: desired state.</summary>
public sealed class ResourceService(Controller controller, CallBudgets budgets) : Resources.ResourcesBase
{
    private const int LargestPage = 1000;

    private static readonly Kind[] s_kinds = [.. ResourceKeys.Kinds, Kind.Node];

    public override Task<Resource> Get(GetRequest request, ServerCallContext context)
    {
        CheckKind(request.Kind);
        return Task.FromResult(Find(controller.State, request.Kind, request.Name) ?? throw NotFound(request.Kind, request.Name));
    }

    public override Task<ListResponse> List(ListRequest request, ServerCallContext context)
    {
        CheckKind(request.Kind);
        DesiredState state = controller.State;
        int size = request.PageSize is 0 or > LargestPage ? LargestPage : (int)request.PageSize;
        var response = new ListResponse { Revision = state.Revision };
        // The token is the last name of the page before: a listing goes on where it was, whatever has changed meanwhile.
        foreach (string name in Candidates(state, request))
        {
            if (!Matches(state, request.Kind, name, request.Filter))
            {
                continue;
            }
            if (response.Resources.Count == size)
            {
                response.NextPageToken = response.Resources[^1].Name;
                break;
            }
            if (Find(state, request.Kind, name) is { } found)
            {
                response.Resources.Add(found);
            }
        }
        return Task.FromResult(response);
    }

    public override async Task<ApplyResponse> Apply(ApplyRequest request, ServerCallContext context)
    {
        var batch = new Batch { Apply = request.Resources, CreateOnly = request.CreateOnly, Owned = true };
        CommitResult result = await controller.CommitAsync(batch, request.DryRun, context.CancellationToken);
        var response = new ApplyResponse { Revision = result.Revision };
        response.Changes.AddRange(Messages(result));
        return response;
    }

    public override async Task<DeleteResponse> Delete(DeleteRequest request, ServerCallContext context)
    {
        var batch = new Batch { Delete = request.Keys, IgnoreMissing = request.IgnoreMissing };
        CommitResult result = await controller.CommitAsync(batch, request.DryRun, context.CancellationToken);
        var response = new DeleteResponse { Revision = result.Revision };
        response.Changes.AddRange(Messages(result));
        return response;
    }

    public override Task Push(IAsyncStreamReader<PushRequest> requests, IServerStreamWriter<PushResponse> responses, ServerCallContext context) =>
        new PushSession(controller, responses, cancel => WaitForShareAsync(context, cancel)).RunAsync(requests, context.CancellationToken);

    public override async Task Watch(WatchRequest request, IServerStreamWriter<WatchEvent> stream, ServerCallContext context)
    {
        foreach (Kind kind in request.Kinds)
        {
            CheckKind(kind);
        }
        HashSet<Kind> kinds = request.Kinds.Count > 0 ? [.. request.Kinds] : [.. ResourceKeys.Kinds];
        bool Wants(WatchEvent change) => kinds.Contains(change.Resource.Kind);
        DesiredState? snapshot = null;
        ulong revision;
        ChangeLog.Watcher watcher;
        if (request.FromRevision == 0)
        {
            (snapshot, watcher) = controller.WatchNow(Wants);
            revision = snapshot.Revision;
        }
        else
        {
            revision = request.FromRevision;
            watcher = controller.WatchFrom(revision, Wants) ?? throw new RpcException(new Status(
                StatusCode.OutOfRange, $"changes since revision {revision} are not remembered; list again, then watch from the revision of the list"));
        }
        using (watcher)
        {
            if (snapshot is not null)
            {
                await SendSnapshot(snapshot, kinds, stream, context.CancellationToken);
            }
            foreach (WatchEvent missed in watcher.Missed)
            {
                revision = missed.Revision;
                await stream.WriteAsync(missed, context.CancellationToken);
            }
            await stream.WriteAsync(new WatchEvent { Type = WatchEvent.Types.Type.Synced, Revision = revision }, context.CancellationToken);
            await foreach (WatchEvent change in watcher.Changes(context.CancellationToken))
            {
                await stream.WriteAsync(change, context.CancellationToken);
            }
        }
    }

    private IEnumerable<Change> Messages(CommitResult result) => result.Changes.Select(c =>
    {
        Change message = c.ToMessage();
        message.Resource = controller.Status.Of(result.State, c);
        return message;
    });

    private async Task WaitForShareAsync(ServerCallContext context, CancellationToken cancel)
    {
        if (context.GetHttpContext().Features.Get<Caller>() is { } caller)
        {
            await budgets.WaitForChangeAsync(caller, cancel);
        }
    }

    private async Task SendSnapshot(DesiredState state, HashSet<Kind> kinds, IServerStreamWriter<WatchEvent> stream, CancellationToken cancel)
    {
        foreach (Kind kind in s_kinds.Where(kinds.Contains))
        {
            foreach (Resource resource in Names(state, kind).Select(name => Find(state, kind, name)).OfType<Resource>())
            {
                await stream.WriteAsync(new WatchEvent { Type = WatchEvent.Types.Type.Snapshot, Resource = resource, Revision = state.Revision }, cancel);
            }
        }
    }

    /// <summary>Of a service's backends there are a few among a million.</summary>
    private IEnumerable<string> Candidates(DesiredState state, ListRequest request) => request is { Kind: Kind.Backend, Filter.Service: { Length: > 0 } service }
        ? state.Services.BackendsOf(service).Keys.Where(n => string.CompareOrdinal(n, request.PageToken) > 0)
        : Names(state, request.Kind, after: request.PageToken);

    /// <summary>Nodes are no part of desired state, and come from elsewhere.</summary>
    private IEnumerable<string> Names(DesiredState state, Kind kind, string after = "") => kind == Kind.Node
        ? controller.Nodes.All.Select(n => n.Name).Where(n => string.CompareOrdinal(n, after) > 0)
        : state.Names(kind, after);

    private Resource? Find(DesiredState state, Kind kind, string name) => kind == Kind.Node
        ? controller.Nodes.All.Where(n => n.Name == name).Select(ResourceKeys.Of).FirstOrDefault()
        : controller.Status.Find(state, kind, name);

    private static bool Matches(DesiredState state, Kind kind, string name, Filter? filter)
    {
        if (filter is null)
        {
            return true;
        }
        return (filter.Name.Length == 0 || System.IO.Enumeration.FileSystemName.MatchesSimpleExpression(filter.Name, name, ignoreCase: false))
            && (filter.Network.Length == 0 || IsOfNetwork(state, kind, name, filter.Network))
            && (filter.Vrf.Length == 0 || (kind == Kind.Service ? state.Services.Services[name].Spec.VrfsInForce.Contains(filter.Vrf) : filter.Vrf == VrfOf(state, kind, name)))
            && (filter.Service.Length == 0 || (kind == Kind.Backend && ResourceKeys.SplitBackend(name).Service == filter.Service));
    }

    private static bool IsOfNetwork(DesiredState state, Kind kind, string name, string network) => kind switch
    {
        Kind.Port => state.Ports[name].Spec.Network == network,
        Kind.StaticMac => state.StaticMacs[name].Network == network,
        Kind.TunnelPeer => state.Peers[name].Spec.Network == network,
        Kind.Neighbour => state.Neighbours[name].Network == network,
        Kind.Route => state.Routes[name].NextHops.Any(n => n.Network == network),
        Kind.Policy => state.PortsWith(name).Any(p => p.Spec.Network == network),
        Kind.Network => name == network,
        _ => false,
    };

    private static string? VrfOf(DesiredState state, Kind kind, string name) => kind switch
    {
        Kind.Network => state.Topology.OfNetwork(name)?.Vrf,
        Kind.Port => (state.Topology.OfPort(name) ?? state.Topology.OfNetwork(state.Ports[name].Spec.Network))?.Vrf,
        Kind.TunnelPeer => state.Topology.OfNetwork(state.Peers[name].Spec.Network)?.Vrf,
        Kind.Neighbour when state.Neighbours[name] is { } n => (n.Port.Length > 0 ? state.Topology.OfPort(n.Port) : state.Topology.OfNetwork(n.Network))?.Vrf,
        Kind.Route => state.Routes[name].VrfInForce,
        Kind.PublishedPort => state.Services.Published[name].Spec.VrfInForce,
        _ => null,
    };

    private static void CheckKind(Kind kind)
    {
        if (!s_kinds.Contains(kind))
        {
            throw new ProblemException(StatusCode.InvalidArgument, "the kind is missing; kinds are NETWORK, PORT, STATIC_MAC, TUNNEL_PEER, NEIGHBOUR, ROUTE, SERVICE, BACKEND, PUBLISHED_PORT, POLICY, NODE");
        }
    }

    private static ProblemException NotFound(Kind kind, string name) =>
        new(StatusCode.NotFound, [new Problem { Kind = kind, Name = name, Field = "name", Message = "does not exist" }]);
}
