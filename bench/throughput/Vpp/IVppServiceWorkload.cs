namespace Dataplane.ThroughputBench.Vpp;

/// <summary>
/// A workload of services: what is sent to them is translated by one of VPP's plug-ins, which are told of it one like the other. The first of the
/// ports is the clients', and its packets are the first of each connection.
/// </summary>
public interface IVppServiceWorkload : IVppWorkload
{
    /// <summary>The services.</summary>
    IReadOnlyList<VppService> VppServices { get; }

    /// <summary>Connections that there must be room for.</summary>
    int VppConnections { get; }

    /// <summary>See <see cref="Harness.Scenario.FillsConnections"/>.</summary>
    bool FillsConnections { get; }

    /// <summary>Interface on which the clients are, and interface behind which the backends are.</summary>
    (string Clients, string Backends) VppSides(IReadOnlyList<string> ports);
}

/// <summary>A service over UDP, as what clients send to and the one backend that answers.</summary>
public readonly record struct VppService(string Address, ushort Port, string BackendAddress, ushort BackendPort);
