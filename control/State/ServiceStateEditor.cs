using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Google.Protobuf;

namespace Dataplane.Control.State;

/// <summary>The services of a state in the making.</summary>
internal sealed class ServiceStateEditor(ServiceState before)
{
    private readonly ImmutableSortedDictionary<string, ServiceEntry>.Builder _services = before.Services.ToBuilder();
    private readonly ImmutableSortedDictionary<string, PublishedEntry>.Builder _published = before.Published.ToBuilder();
    private readonly Dictionary<string, ImmutableSortedDictionary<string, Backend>.Builder> _backends = new(StringComparer.Ordinal);
    private readonly ImmutableDictionary<VipKey, ImmutableArray<string>>.Builder _vips = before.Vips.ToBuilder();
    private readonly ImmutableDictionary<HostPortKey, ImmutableArray<HostPortHolder>>.Builder _hostPorts = before.HostPorts.ToBuilder();
    private readonly ImmutableDictionary<string, ImmutableArray<string>>.Builder _ofPort = before.PublishedOfPort.ToBuilder();
    private readonly ImmutableSortedSet<string>.Builder _nodePorts = before.WithNodePorts.ToBuilder();
    private readonly List<PublishedEntry> _unchosen = [];
    private uint _next = before.NextNumber;
    private bool _changed;

    /// <summary>The spec of a resource, or null.</summary>
    public IMessage? Find(Kind kind, string name) => kind switch
    {
        Kind.Service => _services.GetValueOrDefault(name)?.Spec,
        Kind.Backend => _backends.TryGetValue(ResourceKeys.SplitBackend(name).Service, out ImmutableSortedDictionary<string, Backend>.Builder? backends)
            ? backends.GetValueOrDefault(name)
            : before.FindBackend(name),
        Kind.PublishedPort => _published.GetValueOrDefault(name)?.Spec,
        _ => null,
    };

    public void Set(Service service) => Set(new ServiceEntry(service, _services.GetValueOrDefault(service.Name)?.Number ?? _next));

    /// <summary>One with its number, as it was saved.</summary>
    public void Set(ServiceEntry entry)
    {
        string name = entry.Spec.Name;
        Forget(_services.GetValueOrDefault(name)?.Spec);
        _services[name] = entry;
        _next = Math.Max(_next, entry.Number + 1);
        foreach (VipKey vip in entry.Spec.Vips)
        {
            Add(_vips, vip, name);
        }
        foreach (HostPortKey port in entry.Spec.NodePorts)
        {
            Add(_hostPorts, port, new HostPortHolder(Kind.Service, name));
            _nodePorts.Add(name);
        }
        _changed = true;
    }

    public void Set(Backend backend)
    {
        BackendsOf(backend.Name)[backend.Name] = backend;
        _changed = true;
    }

    public void Set(PublishedPort published)
    {
        PublishedEntry? existing = _published.GetValueOrDefault(published.Name);
        // One that leaves the choice to the switch keeps what it got, unless that was for another protocol or VRF.
        uint port = published.HostPort != 0 ? published.HostPort
            : existing is { Spec: { HostPort: 0 } spec } && spec.Protocol == published.Protocol && spec.VrfInForce == published.VrfInForce ? existing.HostPort
            : 0u;
        Set(new PublishedEntry(published, existing?.Number ?? _next, (ushort)Math.Min(port, ushort.MaxValue)));
    }

    /// <summary>One with its numbers, as it was saved.</summary>
    public void Set(PublishedEntry entry)
    {
        string name = entry.Spec.Name;
        Forget(_published.GetValueOrDefault(name));
        _published[name] = entry;
        _next = Math.Max(_next, entry.Number + 1);
        if (entry.HostPort != 0)
        {
            Add(_hostPorts, entry.Key, new HostPortHolder(Kind.PublishedPort, name));
        }
        else
        {
            _unchosen.Add(entry);
        }
        if (entry.Spec.Port.Length > 0)
        {
            Add(_ofPort, entry.Spec.Port, name);
        }
        _changed = true;
    }

    public void Remove(Kind kind, string name)
    {
        switch (kind)
        {
            case Kind.Service:
                Forget(_services.GetValueOrDefault(name)?.Spec);
                _services.Remove(name);
                break;
            case Kind.Backend:
                BackendsOf(name).Remove(name);
                break;
            case Kind.PublishedPort:
                Forget(_published.GetValueOrDefault(name));
                _published.Remove(name);
                break;
        }
        _changed = true;
    }

    /// <summary>The services as they are now, with a port of the node for each published port that has none yet.</summary>
    /// <param name="links">Networks, ports and tunnel peers of the same state.</param>
    public ServiceState ToState(DesiredState links)
    {
        if (!_changed)
        {
            return before;
        }
        ushort next = ChooseHostPorts(links);
        ImmutableSortedDictionary<string, ImmutableSortedDictionary<string, Backend>>.Builder backends = before.Backends.ToBuilder();
        foreach ((string service, ImmutableSortedDictionary<string, Backend>.Builder some) in _backends)
        {
            if (some.Count > 0)
            {
                backends[service] = some.ToImmutable();
            }
            else
            {
                backends.Remove(service);
            }
        }
        return new ServiceState
        {
            Services = _services.ToImmutable(),
            Backends = backends.ToImmutable(),
            Published = _published.ToImmutable(),
            Vips = _vips.ToImmutable(),
            HostPorts = _hostPorts.ToImmutable(),
            PublishedOfPort = _ofPort.ToImmutable(),
            WithNodePorts = _nodePorts.ToImmutable(),
            NextNumber = _next,
            NextHostPort = next,
        };
    }

    /// <summary>After everything that asks for a certain port has it. One for which there is none left stays without.</summary>
    private ushort ChooseHostPorts(DesiredState links)
    {
        ushort next = before.NextHostPort;
        foreach (PublishedEntry entry in _unchosen.Where(e => ReferenceEquals(_published.GetValueOrDefault(e.Spec.Name), e)).ToList())
        {
            if (HostPorts.FindFree(entry.Spec, next, links, _hostPorts, _vips, name => _services[name].Spec) is { } free)
            {
                Set(entry with { HostPort = free });
                next = (ushort)(free + 1);
            }
        }
        return next;
    }

    private ImmutableSortedDictionary<string, Backend>.Builder BackendsOf(string name)
    {
        string service = ResourceKeys.SplitBackend(name).Service;
        if (!_backends.TryGetValue(service, out ImmutableSortedDictionary<string, Backend>.Builder? backends))
        {
            _backends.Add(service, backends = before.BackendsOf(service).ToBuilder());
        }
        return backends;
    }

    private void Forget(Service? service)
    {
        if (service is null)
        {
            return;
        }
        foreach (VipKey vip in service.Vips)
        {
            Remove(_vips, vip, service.Name);
        }
        foreach (HostPortKey port in service.NodePorts)
        {
            Remove(_hostPorts, port, new HostPortHolder(Kind.Service, service.Name));
        }
        _nodePorts.Remove(service.Name);
    }

    private void Forget(PublishedEntry? entry)
    {
        if (entry is null)
        {
            return;
        }
        if (entry.HostPort != 0)
        {
            Remove(_hostPorts, entry.Key, new HostPortHolder(Kind.PublishedPort, entry.Spec.Name));
        }
        if (entry.Spec.Port.Length > 0)
        {
            Remove(_ofPort, entry.Spec.Port, entry.Spec.Name);
        }
    }

    private static void Add<TKey, TValue>(ImmutableDictionary<TKey, ImmutableArray<TValue>>.Builder index, TKey key, TValue value)
        where TKey : notnull =>
        index[key] = index.TryGetValue(key, out ImmutableArray<TValue> others) ? others.Contains(value) ? others : others.Add(value) : [value];

    private static void Remove<TKey, TValue>(ImmutableDictionary<TKey, ImmutableArray<TValue>>.Builder index, TKey key, TValue value)
        where TKey : notnull
    {
        if (index.TryGetValue(key, out ImmutableArray<TValue> present))
        {
            ImmutableArray<TValue> others = present.Remove(value);
            if (others.IsEmpty)
            {
                index.Remove(key);
            }
            else
            {
                index[key] = others;
            }
        }
    }
}
