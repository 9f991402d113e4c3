namespace Dataplane.ThroughputBench.Ovs;

/// <summary>A workload that Open vSwitch can take too.</summary>
public interface IOvsWorkload
{
    /// <summary>Makes bridges and ports, of the datapath type <c>netdev</c>.</summary>
    /// <param name="ovs">A switch that runs, in a network namespace of its own.</param>
    /// <param name="devices">DPDK's devices, in the order of the engine's ports.</param>
    void Configure(OvsProcess ovs, IReadOnlyList<OvsDevice> devices);

    /// <summary>
    /// Why this is nothing that it does, or that its buffers have no room for the packets of all ports' files (<see cref="OvsDpdkSubject.MostPackets"/>), as what it
    /// does not do: "makes no ...". Null when it can take part.
    /// </summary>
    string? OvsObstacle => null;

    /// <summary>Whether it has learned what it will.</summary>
    bool IsSettled(OvsProcess ovs) => true;
}
