using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;
using Grpc.Core;

namespace Dataplane.Control.Runtime;

/// <summary>The MAC table with the names of networks and ports.</summary>
internal sealed class MacListing
{
    private readonly Segment _segment;
    private readonly MacFilter _filter;
    private readonly ulong? _mac;
    private readonly Dictionary<int, string> _networks;
    private readonly Dictionary<int, string> _ports;

    private MacListing(DesiredState state, Segment segment, MacFilter filter, ulong? mac)
    {
        _segment = segment;
        _filter = filter;
        _mac = mac;
        _networks = state.Networks.Values.ToDictionary(n => n.Index, n => n.Spec.Name);
        _ports = state.Topology.Ports.ToDictionary(p => p.Index, p => p.Name);
    }

    /// <exception cref="ProblemException">The request names something that does not exist, or no MAC address.</exception>
    public static MacListing Of(DesiredState state, Segment segment, ListMacsRequest request)
    {
        MacFilter filter = MacFilter.Of(state, request.Network, request.Port, vlan: 0);
        if (request.Mac.Length == 0)
        {
            return new MacListing(state, segment, filter, null);
        }
        return MacAddress.TryParse(request.Mac, out MacAddress mac)
            ? new MacListing(state, segment, filter, mac.Value)
            : throw new ProblemException(StatusCode.InvalidArgument, $"\"{request.Mac}\" is not a MAC address (02:42:ac:12:00:02)");
    }

    public int Buckets => _segment.Macs.BucketCount;

    /// <summary>The entries in a range of buckets.</summary>
    public IEnumerable<Api.V1.MacEntry> Read(int firstBucket, int count)
    {
        var entries = new List<Tables.MacEntry>();
        _segment.Macs.List(firstBucket, count, entries);
        // The workers' clock: whole seconds of CLOCK_MONOTONIC.
        uint now = (uint)(Environment.TickCount64 / 1000);
        foreach (Tables.MacEntry entry in entries.Where(e => _filter.Matches(e) && (_mac is null || e.Mac == _mac)))
        {
            bool isStatic = (entry.Flags & MacFlags.Static) != 0;
            yield return new Api.V1.MacEntry
            {
                Network = _networks.GetValueOrDefault(Fids.BridgeOf(_segment, entry.Fid), ""),
                Vlan = Fids.VlanOf(entry.Fid),
                Mac = new MacAddress(entry.Mac).ToString(),
                Port = entry.Port == 0 ? "" : _ports.GetValueOrDefault(entry.Port, ""),
                IsStatic = isStatic,
                Drop = (entry.Flags & MacFlags.Drop) != 0,
                AgeSeconds = isStatic || entry.LastSeen > now ? 0 : now - entry.LastSeen,
            };
        }
    }
}
