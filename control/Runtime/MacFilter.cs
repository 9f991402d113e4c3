using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Core;

namespace Dataplane.Control.Runtime;

/// <summary>Which MAC entries a caller means.</summary>
internal sealed record MacFilter(int FirstFid, int LastFid, int Port, uint Vlan)
{
    /// <summary>Reads names. Empty names and a VLAN of 0 mean all.</summary>
    /// <exception cref="ProblemException">There is no such network or port.</exception>
    public static MacFilter Of(DesiredState state, string network, string port, uint vlan)
    {
        var problems = new ProblemCollector();
        int first = 0, last = ushort.MaxValue, index = 0;
        if (network.Length > 0)
        {
            if (state.Networks.TryGetValue(network, out NetworkEntry? entry))
            {
                first = StateCompiler.FidBase(entry);
                last = first + (entry.Spec.VlanFiltering ? Fids.BlockSize - 1 : 0);
            }
            else
            {
                problems.Add(Kind.Network, network, "network", "does not exist", code: StatusCode.NotFound);
            }
        }
        if (port.Length > 0)
        {
            if (state.Topology.Find(port) is { } entry)
            {
                index = entry.Index;
            }
            else
            {
                problems.Add(Kind.Port, port, "port", "does not exist", code: StatusCode.NotFound);
            }
        }
        return problems.Any ? throw problems.ToException() : new MacFilter(first, last, index, vlan);
    }

    public bool Matches(Tables.MacEntry entry) =>
        entry.Fid >= FirstFid && entry.Fid <= LastFid && (Port == 0 || entry.Port == Port) && (Vlan == 0 || Fids.VlanOf(entry.Fid) == Vlan);
}
