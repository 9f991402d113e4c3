using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>
/// Services and published ports as frontends, backends and sets of backends. A frontend is one port at one address in one VRF:
/// <list type="bullet">
/// <item>each port at each cluster IP, with the backends of the internal policy;</item>
/// <item>each port at each external address, and each node port at each of the node's own addresses, with those of the external
/// policy;</item>
/// <item>each published port at its address of the node, or at all of them;</item>
/// <item>each address that is not the node's own as such: whoever sends to another of its ports learns that there is nobody.</item>
/// </list>
/// Frontends of a service that have the same backends share their set.
/// </summary>
internal static class ServiceCompiler
{
    /// <summary>All services and published ports.</summary>
    public static IEnumerable<CompiledService> All(DesiredState state, string node) =>
        state.Services.Services.Values.Select(s => Compile(state, s, node)).Concat(state.Services.Published.Values.Select(p => Compile(state, p)));

    /// <summary>All addresses of services.</summary>
    public static IEnumerable<FrontendRecord> Addresses(DesiredState state) => state.Services.Vips.Keys.Select(v => Address(state, v)).OfType<FrontendRecord>();

    /// <summary>What a change makes of them, at the cost of the services that it concerns; null when any of them may be another one.</summary>
    public static CompiledServices? Changed(StateChange change, string node)
    {
        ServiceState before = change.Before.Services, after = change.After.Services;
        if (before.IsEmpty && after.IsEmpty)
        {
            return CompiledServices.None;
        }
        if (!change.Before.Topology.HasSameAddresses(change.After.Topology))
        {
            return null; // node ports, and addresses that are the node's own
        }
        HashSet<string> services = new(StringComparer.Ordinal), published = new(StringComparer.Ordinal);
        services.UnionWith(change.Of(Kind.Service).Select(c => c.Name));
        services.UnionWith(change.Of(Kind.Backend).Select(c => ResourceKeys.SplitBackend(c.Name).Service));
        published.UnionWith(change.Of(Kind.PublishedPort).Select(c => c.Name));
        published.UnionWith(change.Of(Kind.Port).SelectMany(c => after.PublishedOfPort.GetValueOrDefault(c.Name, [])));

        HashSet<FrontendKey> frontends = [];
        Dictionary<BackendKey, bool> backends = [];
        HashSet<VipKey> vips = [];
        var set = new List<CompiledService>();
        foreach (string name in services)
        {
            if (before.Services.TryGetValue(name, out ServiceEntry? old))
            {
                Note(Compile(change.Before, old, node), old.Spec.BackendRemoval == Service.Types.Removal.Reset);
                vips.UnionWith(old.Spec.Vips);
            }
            if (after.Services.TryGetValue(name, out ServiceEntry? now))
            {
                set.Add(Compile(change.After, now, node));
                vips.UnionWith(now.Spec.Vips);
            }
        }
        foreach (string name in published)
        {
            if (before.Published.TryGetValue(name, out PublishedEntry? old))
            {
                Note(Compile(change.Before, old), reset: false);
            }
            if (after.Published.TryGetValue(name, out PublishedEntry? now))
            {
                set.Add(Compile(change.After, now));
            }
        }
        List<FrontendRecord> addresses = [];
        foreach (VipKey vip in vips)
        {
            if (Address(change.After, vip) is { } address)
            {
                addresses.Add(address);
            }
            if (Address(change.Before, vip) is { } gone)
            {
                frontends.Add(gone.Key);
            }
        }
        frontends.ExceptWith(set.SelectMany(s => s.Frontends).Select(f => f.Record.Key));
        frontends.ExceptWith(addresses.Select(a => a.Key));
        foreach (CompiledBackend kept in set.SelectMany(s => s.Backends))
        {
            backends.Remove(kept.Key);
        }
        return new CompiledServices(set, addresses, [.. frontends], [.. backends.Select(b => new RemovedBackend(b.Key, b.Value))]);

        void Note(CompiledService old, bool reset)
        {
            frontends.UnionWith(old.Frontends.Select(f => f.Record.Key));
            foreach (CompiledBackend backend in old.Backends)
            {
                backends[backend.Key] = reset;
            }
        }
    }

    /// <summary>A service on this node.</summary>
    public static CompiledService Compile(DesiredState state, ServiceEntry entry, string node)
    {
        var draft = new Draft(entry.Number);
        Service service = entry.Spec;
        FrontendRecord record = Common(service, entry.Number);
        List<Backend> backends = [.. state.Services.BackendsOf(service.Name).Values.Where(b => b.State != Backend.Types.State.Down)];
        foreach (ServicePort port in service.Ports)
        {
            foreach (bool ipv6 in (ReadOnlySpan<bool>)[false, true])
            {
                List<CompiledBackend> servers = [.. backends.Select(b => (Backend: b, Address: IPAddress.Parse(b.Address)))
                    .Where(b => IsIPv6(b.Address) == ipv6)
                    .Select(b => Compile(entry.Number, b.Backend, b.Address, port, node))];
                int within = draft.AddSet(servers, service.InternalPolicy, service.Distribution);
                int outside = draft.AddSet(servers, service.ExternalPolicy, service.Distribution);
                bool replaced = service.HasSourceNat ? service.SourceNat
                    : service.ExternalPolicy == Service.Types.Policy.Cluster && !service.Dsr && backends.Exists(b => b.Node.Length > 0 && b.Node != node);
                foreach ((string vrf, int index) in Vrfs(state, service.VrfsInForce))
                {
                    foreach ((IPAddress address, bool external) in service.AddressesInForce.Where(a => IsIPv6(a.Address) == ipv6))
                    {
                        bool nat = external ? replaced : service is { HasSourceNat: true, SourceNat: true };
                        draft.Add(record, index, port.Protocol, address, port.Port, nat, external ? outside : within);
                    }
                    if (port.NodePort != 0)
                    {
                        foreach (IPAddress address in state.Topology.NodeAddresses(vrf).Where(a => IsIPv6(a) == ipv6))
                        {
                            draft.Add(record, index, port.Protocol, address, port.NodePort, replaced, outside);
                        }
                    }
                }
                draft.Backends.AddRange(servers);
            }
        }
        return draft.ToService();
    }

    /// <summary>A published port.</summary>
    public static CompiledService Compile(DesiredState state, PublishedEntry entry)
    {
        var draft = new Draft(entry.Number);
        PublishedPort published = entry.Spec;
        var record = new FrontendRecord { Flags = FrontendFlags.Exists, Service = entry.Number };
        foreach (IPAddress container in published.ContainersInForce(state))
        {
            var key = new BackendKey(entry.Number, published.Protocol.Number, IsIPv6(container), InterfaceCompiler.Number(container), entry.TargetPort);
            var backend = new CompiledBackend(key, 1, IsDraining: false, IsLocal: true);
            int set = draft.AddSet([backend], Service.Types.Policy.Cluster, Service.Types.Distribution.Random);
            foreach ((string _, int index) in Vrfs(state, [published.VrfInForce]))
            {
                foreach (IPAddress address in published.HostAddressesInForce(state).Where(a => a.AddressFamily == container.AddressFamily))
                {
                    draft.Add(record, index, published.Protocol, address, entry.HostPort, nat: false, set);
                }
            }
            draft.Backends.Add(backend);
        }
        return draft.ToService();
    }

    /// <summary>An address of services as such; null when the node itself has it, or has not its VRF.</summary>
    private static FrontendRecord? Address(DesiredState state, VipKey vip)
    {
        if (!state.Services.Vips.TryGetValue(vip, out System.Collections.Immutable.ImmutableArray<string> names)
            || !state.Topology.Vrfs.TryGetValue(vip.Vrf, out int vrf) || state.Topology.IsOwn(vip.Vrf, vip.Address))
        {
            return null;
        }
        bool answers = names.Any(n => state.Services.Services[n].Spec is var s && (s.Ping == Service.Types.Ping.Always || (s.Ping == Service.Types.Ping.IfReady && IsReady(state, s, vip.Address))));
        return new FrontendRecord
        {
            Key = FrontendKey.OfAddress((ushort)vrf, IsIPv6(vip.Address), InterfaceCompiler.Number(vip.Address)),
            Flags = FrontendFlags.Exists | FrontendFlags.Address | (answers ? FrontendFlags.AnswersPing : 0),
            Service = state.Services.Services[names[0]].Number,
        };
    }

    private static bool IsReady(DesiredState state, Service service, IPAddress address) => state.Services.BackendsOf(service.Name).Values.Any(b =>
        b.State == Backend.Types.State.Ready && b.WeightInForce > 0 && Cidr.TryParseAddress(b.Address, out IPAddress? own) && own.AddressFamily == address.AddressFamily);

    /// <summary>What all frontends of a service have in common.</summary>
    private static FrontendRecord Common(Service service, uint number) => new()
    {
        Flags = FrontendFlags.Exists | (service.Affinity is null ? 0 : FrontendFlags.Affinity) | (service.Dsr ? FrontendFlags.Dsr : 0),
        Service = number,
        AffinitySeconds = service.Affinity?.SecondsInForce ?? 0,
        EstablishedSeconds = service.Timeouts?.EstablishedSeconds ?? 0,
        HalfOpenSeconds = service.Timeouts?.HalfOpenSeconds ?? 0,
        ClosingSeconds = service.Timeouts?.ClosingSeconds ?? 0,
        UdpSeconds = service.Timeouts?.UdpSeconds ?? 0,
        UdpAnsweredSeconds = service.Timeouts?.UdpAnsweredSeconds ?? 0,
    };

    private static CompiledBackend Compile(uint number, Backend backend, IPAddress address, ServicePort port, string node) => new(
        new BackendKey(number, port.Protocol.Number, IsIPv6(address), InterfaceCompiler.Number(address), (ushort)backend.PortInForce(port)),
        (ushort)backend.WeightInForce,
        backend.State == Backend.Types.State.Draining,
        backend.Node.Length > 0 && backend.Node == node);

    private static IEnumerable<(string Vrf, int Index)> Vrfs(DesiredState state, IEnumerable<string> names) =>
        names.Where(state.Topology.Vrfs.ContainsKey).Select(v => (v, state.Topology.Vrfs[v]));

    private static bool IsIPv6(IPAddress address) => address.AddressFamily == AddressFamily.InterNetworkV6;

    /// <summary>A service in the making.</summary>
    private sealed class Draft(uint number)
    {
        private readonly Dictionary<FrontendKey, CompiledFrontend> _frontends = [];
        private readonly List<CompiledSet> _sets = [];

        public List<CompiledBackend> Backends { get; } = [];

        /// <summary>
        /// The set of those that take connections, -1 when nobody does. Draining ones take their place when there is none, so that
        /// the last backend of a service (or of a node, by policy) serves until it is gone.
        /// </summary>
        public int AddSet(IReadOnlyList<CompiledBackend> backends, Service.Types.Policy policy, Service.Types.Distribution distribution)
        {
            IEnumerable<CompiledBackend> some = policy == Service.Types.Policy.Local ? backends.Where(b => b.IsLocal) : backends;
            List<CompiledBackend> members = [.. some.Where(b => b is { IsDraining: false, Weight: > 0 })];
            if (members.Count == 0)
            {
                members = [.. some.Where(b => b is { IsDraining: true, Weight: > 0 })];
            }
            if (members.Count == 0)
            {
                return -1;
            }
            int same = _sets.FindIndex(s => s.Members.SequenceEqual(members));
            if (same >= 0)
            {
                return same;
            }
            _sets.Add(new CompiledSet(members, distribution == Service.Types.Distribution.Maglev));
            return _sets.Count - 1;
        }

        public void Add(in FrontendRecord common, int vrf, TransportProtocol protocol, IPAddress address, uint port, bool nat, int set)
        {
            FrontendRecord record = common;
            record.Service = number;
            record.Key = FrontendKey.Of((ushort)vrf, protocol.Number, IsIPv6(address), InterfaceCompiler.Number(address), (ushort)port);
            record.Flags |= nat ? FrontendFlags.SourceNat : 0;
            _frontends.TryAdd(record.Key, new CompiledFrontend(record, set));
        }

        /// <summary>Sets that no frontend leads to are not made.</summary>
        public CompiledService ToService()
        {
            int[] numbers = new int[_sets.Count];
            var used = new List<CompiledSet>();
            for (int i = 0; i < _sets.Count; i++)
            {
                bool leads = _frontends.Values.Any(f => f.Set == i);
                numbers[i] = leads ? used.Count : -1;
                if (leads)
                {
                    used.Add(_sets[i]);
                }
            }
            return new CompiledService([.. _frontends.Values.Select(f => f.Set < 0 ? f : f with { Set = numbers[f.Set] })], used, [.. Backends.DistinctBy(b => b.Key)]);
        }
    }
}
