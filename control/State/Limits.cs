using Dataplane.Memory;

namespace Dataplane.Control.State;

/// <summary>How much the tables of this instance hold.</summary>
/// <param name="Ports">Ports, routers of networks and tunnel peers together; their indices go from 1 to this.</param>
/// <param name="Networks">Networks; their bridges' indices go from 1 to this.</param>
/// <param name="Vrfs">VRFs; their indices go from 1 to this.</param>
public sealed record Limits(int Ports, int Networks, int Vrfs = 15)
{
    /// <summary>Networks with VLAN filtering.</summary>
    public const int VlanNetworks = Fids.Blocks;

    /// <summary>Addresses of each family that an interface has.</summary>
    public const int Addresses = InterfaceRecord.AddressLimit;

    /// <summary>Next hops of a route; each needs a bucket of its group.</summary>
    public const int NextHopsOfRoute = NextHopGroup.Buckets;

    public static Limits Of(Segment segment) => new(segment.MaxPorts - 1, segment.MaxBridges - 1, segment.MaxVrfs - 1);
}
