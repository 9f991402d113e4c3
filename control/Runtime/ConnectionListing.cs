using System.Globalization;
using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.Control.Runtime;

/// <summary>The connection table with the names of services.</summary>
internal sealed class ConnectionListing
{
    private readonly Segment _segment;
    private readonly ConnectionTable _table;
    private readonly ListConnectionsRequest _request;
    private readonly Dictionary<uint, string> _services, _published;
    private readonly Dictionary<int, string> _vrfs;
    private readonly IPAddress? _source, _destination, _backend;

    /// <summary>Connections that a caller asks for.</summary>
    /// <exception cref="ProblemException">The request names something that does not exist, or no address.</exception>
    public ConnectionListing(DesiredState state, Segment segment, ListConnectionsRequest request)
    {
        _segment = segment;
        _table = segment.Connections;
        _request = request;
        _vrfs = state.Topology.Vrfs.ToDictionary(v => v.Value, v => v.Key);
        _services = state.Services.Services.Values.ToDictionary(s => s.Number, s => s.Spec.Name);
        _published = state.Services.Published.Values.ToDictionary(p => p.Number, p => p.Spec.Name);
        var problems = new ProblemCollector();
        _source = Address(request.Source, "source");
        _destination = Address(request.Destination, "destination");
        _backend = Address(request.Backend, "backend");
        if (request.Vrf.Length > 0 && !state.Topology.Vrfs.ContainsKey(request.Vrf))
        {
            problems.Add(Kind.Unspecified, "", "vrf", $"VRF \"{request.Vrf}\" does not exist", "VRFs: " + string.Join(", ", state.Topology.Vrfs.Keys.Order(StringComparer.Ordinal)));
        }
        if (request.Service.Length > 0 && !state.Services.Services.ContainsKey(request.Service))
        {
            problems.Add(Kind.Service, request.Service, "", "does not exist", code: Grpc.Core.StatusCode.NotFound);
        }
        if (request.PublishedPort.Length > 0 && !state.Services.Published.ContainsKey(request.PublishedPort))
        {
            problems.Add(Kind.PublishedPort, request.PublishedPort, "", "does not exist", code: Grpc.Core.StatusCode.NotFound);
        }
        if (problems.Any)
        {
            throw problems.ToException();
        }

        IPAddress? Address(string text, string field)
        {
            if (text.Length > 0 && !Cidr.TryParseAddress(text, out _))
            {
                problems.Add(Kind.Unspecified, "", field, $"\"{text}\" is not an IP address");
            }
            return Cidr.TryParseAddress(text, out IPAddress? address) ? address : null;
        }
    }

    public uint Slots(bool ipv6) => _table.SlotCount(ipv6);

    /// <summary>The connections in a range of slots.</summary>
    public IEnumerable<Connection> Read(bool ipv6, uint first, uint count)
    {
        var entries = new List<ConnectionEntry>();
        _table.List(ipv6, first, count, entries);
        foreach (ConnectionEntry entry in entries)
        {
            if (Describe(entry) is var connection && Matches(connection))
            {
                yield return connection;
            }
        }
    }

    public static ConnectionTableStats Statistics(Segment segment)
    {
        ConnectionStatistics now = segment.Connections.Statistics();
        return new ConnectionTableStats
        {
            CapacityIpv4 = (ulong)now.Capacity4,
            CapacityIpv6 = (ulong)now.Capacity6,
            Connections = (ulong)Math.Max(0, now.Connections),
            HalfOpen = (ulong)Math.Max(0, now.HalfOpen),
            Inserted = now.Inserted,
            Evicted = now.Evicted,
            Expired = now.Expired,
            Refused = now.Refused,
            Swept = now.Swept,
        };
    }

    private Connection Describe(ConnectionEntry entry)
    {
        FrontendRecord frontend = entry.Frontend != 0 && entry.Frontend < _segment.MaxFrontends ? _segment.Frontend((int)entry.Frontend, _segment.Generation) : default;
        if (!entry.IsOf(in frontend))
        {
            frontend = default; // it is gone, and its number is another one's, perhaps
        }
        // The workers' clock: whole seconds of CLOCK_MONOTONIC.
        uint idle = (uint)Math.Max(0, (int)((uint)(Environment.TickCount64 / 1000) - entry.LastSeen));
        uint limit = ConnectionTimes.Of(entry.Key.Protocol, entry.State, entry.Flags, in frontend);
        return new Connection
        {
            Vrf = _vrfs.GetValueOrDefault(entry.Key.Vrf, $"#{entry.Key.Vrf}"),
            Protocol = ProtocolName(entry.Key.Protocol),
            State = entry.State == ConnectionState.None ? "" : StateName(entry.State),
            Original = Flow(entry.Key),
            Reply = Flow(entry.OtherKey),
            Service = _services.GetValueOrDefault(frontend.Service, ""),
            PublishedPort = _published.GetValueOrDefault(frontend.Service, ""),
            HalfOpen = (entry.Flags & ConnectionFlags.HalfOpen) != 0,
            Dsr = (entry.Flags & ConnectionFlags.Dsr) != 0,
            Reset = (entry.Flags & ConnectionFlags.Reset) != 0,
            IdleSeconds = idle,
            ExpiresSeconds = limit > idle ? limit - idle : 0,
        };
    }

    private bool Matches(Connection c) =>
        Is(_request.Vrf, c.Vrf) && Is(_request.Protocol, c.Protocol) && Is(_request.State, c.State) && Is(_request.Service, c.Service) && Is(_request.PublishedPort, c.PublishedPort)
        && Is(_source?.ToString() ?? "", c.Original.Source) && Is(_destination?.ToString() ?? "", c.Original.Destination) && Is(_backend?.ToString() ?? "", c.Reply.Source)
        && (_request.SourcePort == 0 || _request.SourcePort == c.Original.SourcePort) && (_request.DestinationPort == 0 || _request.DestinationPort == c.Original.DestinationPort);

    private static bool Is(string wanted, string found) => wanted.Length == 0 || string.Equals(wanted, found, StringComparison.OrdinalIgnoreCase);

    private static Flow Flow(ConnectionKey key) => new()
    {
        Source = RouteCompiler.AddressOf(key.IsIPv6, new UInt128(key.Source.High, key.Source.Low)).ToString(),
        Destination = RouteCompiler.AddressOf(key.IsIPv6, new UInt128(key.Destination.High, key.Destination.Low)).ToString(),
        SourcePort = key.SourcePort,
        DestinationPort = key.DestinationPort,
    };

    private static string ProtocolName(byte protocol) => protocol switch
    {
        Wire.ProtocolTcp => "tcp",
        Wire.ProtocolUdp => "udp",
        Wire.ProtocolSctp => "sctp",
        Icmp.Protocol4 => "icmp",
        Icmp.Protocol6 => "icmpv6",
        _ => protocol.ToString(CultureInfo.InvariantCulture),
    };

    /// <summary>As conntrack(8) writes it: "SYN_SENT".</summary>
    private static string StateName(ConnectionState state) => state switch
    {
        ConnectionState.SynSent => "SYN_SENT",
        ConnectionState.SynSent2 => "SYN_SENT2",
        ConnectionState.SynReceived => "SYN_RECV",
        ConnectionState.FinWait => "FIN_WAIT",
        ConnectionState.CloseWait => "CLOSE_WAIT",
        ConnectionState.LastAck => "LAST_ACK",
        ConnectionState.TimeWait => "TIME_WAIT",
        ConnectionState.Closed => "CLOSE",
        ConnectionState.CookieWait => "COOKIE_WAIT",
        ConnectionState.CookieEchoed => "COOKIE_ECHOED",
        ConnectionState.ShutdownSent => "SHUTDOWN_SENT",
        ConnectionState.ShutdownReceived => "SHUTDOWN_RECD",
        ConnectionState.ShutdownAckSent => "SHUTDOWN_ACK_SENT",
        ConnectionState.HeartbeatSent => "HEARTBEAT_SENT",
        _ => state.ToString().ToUpperInvariant(),
    };
}
