using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>The router: from an interface (a router port or a routed port) by the routes of its VRF to the next hop.</summary>
public static unsafe class RouteStage
{
    /// <summary>Routes a burst that an interface received and has counted. Gives its bytes.</summary>
    public static ulong Run(Worker w, int port, rte_mbuf** mbufs, int count) => w.DropAll(port, mbufs, count, DropReason.NoRoute);
}
