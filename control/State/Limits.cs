using Dataplane.Memory;

namespace Dataplane.Control.State;

/// <summary>How much the tables of this instance hold.</summary>
/// <param name="Ports">Ports; their indices go from 1 to this.</param>
/// <param name="Networks">Networks; their bridges' indices go from 1 to this.</param>
public sealed record Limits(int Ports, int Networks)
{
    /// <summary>Networks with VLAN filtering.</summary>
    public const int VlanNetworks = Fids.Blocks;

    public static Limits Of(Segment segment) => new(segment.MaxPorts - 1, segment.MaxBridges - 1);
}
