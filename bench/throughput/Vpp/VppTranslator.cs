namespace Dataplane.ThroughputBench.Vpp;

/// <summary>A plug-in of VPP that translates what is sent to services, and the answers.</summary>
public abstract class VppTranslator
{
    /// <summary>Sections of the start-up configuration.</summary>
    public virtual IEnumerable<string> Sections(IVppServiceWorkload workload) => [];

    /// <summary>What makes the services known.</summary>
    /// <param name="workload">The services.</param>
    /// <param name="ports">Interfaces in the order of the engine's ports.</param>
    public abstract IEnumerable<string> Commands(IVppServiceWorkload workload, IReadOnlyList<string> ports);

    /// <summary>Connections that it has.</summary>
    public abstract int Connections(VppProcess vpp);

    /// <summary>Empties the table of connections, while nothing arrives. The services stay.</summary>
    public abstract void Empty(VppProcess vpp, IVppServiceWorkload workload, CancellationToken cancel);
}
