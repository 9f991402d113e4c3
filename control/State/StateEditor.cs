using System.Collections.Immutable;
using Dataplane.Control.Api.V1;
using Google.Protobuf;

namespace Dataplane.Control.State;

/// <summary>
/// A state in the making. What a batch changes is changed in one pass: nodes of the trees are copied once, not once for each
/// resource.
/// </summary>
internal sealed class StateEditor(DesiredState before)
{
    private readonly ImmutableSortedDictionary<string, NetworkEntry>.Builder _networks = before.Networks.ToBuilder();
    private readonly ImmutableSortedDictionary<string, PortEntry>.Builder _ports = before.Ports.ToBuilder();
    private readonly ImmutableSortedDictionary<string, StaticMac>.Builder _macs = before.StaticMacs.ToBuilder();

    public NetworkEntry? Network(string name) => _networks.GetValueOrDefault(name);

    public PortEntry? Port(string name) => _ports.GetValueOrDefault(name);

    public IEnumerable<NetworkEntry> Networks => _networks.Values;

    public IEnumerable<PortEntry> Ports => _ports.Values;

    /// <summary>The spec of a resource, or null.</summary>
    public IMessage? Find(Kind kind, string name) => kind switch
    {
        Kind.Network => Network(name)?.Spec,
        Kind.Port => Port(name)?.Spec,
        Kind.StaticMac => _macs.GetValueOrDefault(name),
        _ => null,
    };

    public void Set(NetworkEntry network) => _networks[network.Spec.Name] = network;

    public void Set(PortEntry port) => _ports[port.Spec.Name] = port;

    public void Set(StaticMac mac) => _macs[mac.Name] = mac;

    public void Remove(Kind kind, string name)
    {
        switch (kind)
        {
            case Kind.Network: _networks.Remove(name); break;
            case Kind.Port: _ports.Remove(name); break;
            case Kind.StaticMac: _macs.Remove(name); break;
        }
    }

    public DesiredState ToState(ulong revision) =>
        new(revision, _networks.ToImmutable(), _ports.ToImmutable(), _macs.ToImmutable());
}
