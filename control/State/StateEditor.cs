using Dataplane.Control.Api.V1;
using Google.Protobuf;

namespace Dataplane.Control.State;

/// <summary>
/// A state in the making. Of the kinds that there may be a million of, what a batch changes is changed in one pass: nodes of the
/// trees are copied once, not once for each resource.
/// </summary>
internal sealed class StateEditor(DesiredState before)
{
    private readonly NameMap<StaticMac>.Editor _macs = before.StaticMacs.Edit();
    private readonly NameMap<Neighbour>.Editor _neighbours = before.Neighbours.Edit();
    private readonly NameMap<Route>.Editor _routes = before.Routes.Edit();

    /// <summary>Services, backends and published ports as they are now.</summary>
    public ServiceStateEditor Services { get; } = new(before.Services);

    /// <summary>Networks, policies, ports and tunnel peers as they are now. What else there is in it is of before.</summary>
    public DesiredState Links { get; set; } = before;

    /// <summary>The spec of a resource, or null.</summary>
    public IMessage? Find(Kind kind, string name) => kind switch
    {
        Kind.StaticMac => _macs.GetValueOrDefault(name),
        Kind.Neighbour => _neighbours.GetValueOrDefault(name),
        Kind.Route => _routes.GetValueOrDefault(name),
        Kind.Service or Kind.Backend or Kind.PublishedPort => Services.Find(kind, name),
        _ => Links.Find(kind, name)?.Content,
    };

    public void Set(StaticMac mac) => _macs.Set(mac.Name, mac);

    public void Set(Neighbour neighbour) => _neighbours.Set(neighbour.Name, neighbour);

    public void Set(Route route) => _routes.Set(route.Name, route);

    public void Remove(Kind kind, string name)
    {
        switch (kind)
        {
            case Kind.StaticMac: _macs.Remove(name); break;
            case Kind.Neighbour: _neighbours.Remove(name); break;
            case Kind.Route: _routes.Remove(name); break;
            case Kind.Service or Kind.Backend or Kind.PublishedPort: Services.Remove(kind, name); break;
            default: Links = Links.WithoutLink(kind, name); break;
        }
    }

    public DesiredState ToState(ulong revision) => Links with
    {
        Revision = revision,
        StaticMacs = _macs.ToMap(),
        Neighbours = _neighbours.ToMap(),
        Routes = _routes.ToMap(),
        Services = Services.ToState(Links),
    };
}
