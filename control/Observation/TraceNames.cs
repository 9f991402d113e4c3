using System.Net;
using Dataplane.Control.Compiler;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Observation;

/// <summary>
/// The names behind the numbers that workers know: those of ports and services in desired state, and the addresses of frontends and
/// backends in the segment. What is gone already keeps its number, "#3".
/// </summary>
public sealed class TraceNames(Func<DesiredState> state, Segment segment)
{
    private ServiceState? _known;
    private Dictionary<uint, string> _services = [];

    /// <summary>"port web"</summary>
    public string Port(int index) => PortName(index) is { } name ? $"port {name}" : $"port #{index}";

    /// <summary>"web", or null.</summary>
    public string? PortName(int index) => state().PortName(index);

    /// <summary>The network that a port is in, or null.</summary>
    public string? Network(int port) => state().Topology.Find(port) is { Network.Length: > 0 } found ? found.Network : null;

    /// <summary>"service shop at 10.96.0.10:80"</summary>
    /// <param name="index">Index of the frontend.</param>
    /// <param name="service">Number of its service, where that is known; 0 to look it up.</param>
    public string Frontend(ulong index, uint service = 0)
    {
        FrontendRecord record = index != 0 && index < (ulong)segment.MaxFrontends ? segment.Frontend((int)index, segment.Generation) : default;
        string name = Service(service != 0 ? service : record.Service);
        return record.Has(FrontendFlags.Exists) && (service == 0 || service == record.Service)
            ? $"{name} at {EndPoint(record.Key.IsIPv6, record.Key.Address, record.Key.Port)}"
            : $"{name}, frontend #{index}";
    }

    /// <summary>"backend 172.18.0.2:8080"</summary>
    public string Backend(uint index)
    {
        BackendRecord record = index != 0 && index < (uint)segment.MaxBackends ? segment.Backend((int)index, segment.Generation) : default;
        return record.Has(BackendFlags.Exists) ? $"backend {EndPoint(record.Has(BackendFlags.IPv6), record.Address, record.Port)}" : $"backend #{index}";
    }

    private string Service(uint number)
    {
        ServiceState now = state().Services;
        if (!ReferenceEquals(now, _known))
        {
            _known = now;
            _services = now.Services.Values.Select(s => (s.Number, Text: $"service {s.Spec.Name}"))
                .Concat(now.Published.Values.Select(p => (p.Number, Text: $"published port {p.Spec.Name}")))
                .ToDictionary(s => s.Number, s => s.Text);
        }
        return _services.GetValueOrDefault(number, $"service #{number}");
    }

    private static string EndPoint(bool ipv6, IPv6Number address, ushort port) =>
        new IPEndPoint(RouteCompiler.AddressOf(ipv6, new UInt128(address.High, address.Low)), port).ToString();
}
