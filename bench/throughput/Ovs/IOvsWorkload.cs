namespace Dataplane.ThroughputBench.Ovs;

/// <summary>A workload that Open vSwitch can take too.</summary>
public interface IOvsWorkload
{
    /// <summary>Makes bridges and ports, of the datapath type <c>netdev</c>.</summary>
    /// <param name="ovs">A switch that runs, in a network namespace of its own.</param>
    /// <param name="devices">DPDK's devices, in the order of the engine's ports; see <see cref="OvsDpdkSubject.Port"/>.</param>
    void Configure(OvsProcess ovs, IReadOnlyList<string> devices);

    /// <summary>
    /// Whether this is something that it does, and the packets of all ports' files fit into its buffers (<see cref="OvsDpdkSubject.MostPackets"/>). It makes no
    /// room in a table of connections that is full.
    /// </summary>
    bool FitsOvs => true;

    /// <summary>Whether it has learned what it will.</summary>
    bool IsSettled(OvsProcess ovs) => true;
}
