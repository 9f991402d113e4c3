namespace Dataplane.ThroughputBench.Vpp;

/// <summary>A workload that VPP can take too.</summary>
public interface IVppWorkload
{
    /// <summary>Why this is nothing that it does: "makes no ...". Null when it can take part.</summary>
    string? VppObstacle => null;

    /// <summary>Sections of its start-up configuration besides those that every run has: sizes of tables, say.</summary>
    IEnumerable<string> VppSections => [];

    /// <summary>What its command line is told while its ports are still down.</summary>
    /// <param name="ports">Its interfaces, in the order of the engine's ports.</param>
    IEnumerable<string> VppCommands(IReadOnlyList<string> ports);

    /// <summary>Whether it has learned what it will.</summary>
    bool IsSettled(VppProcess vpp) => true;
}
