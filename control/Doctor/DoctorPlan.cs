namespace Dataplane.Control.Doctor;

/// <summary>What the machine is examined for: the options that the switch is to run with.</summary>
internal sealed record DoctorPlan
{
    /// <summary>PCI addresses of the cards that ports are to have; none for a switch of TAP devices.</summary>
    public IReadOnlyList<string> Devices { get; init; } = [];

    /// <summary>Forwarding threads.</summary>
    public int Workers { get; init; } = 1;

    /// <summary>CPUs to pin them to, or none.</summary>
    public IReadOnlyList<int> Cores { get; init; } = [];

    /// <summary>MiB for packet buffers.</summary>
    public int Memory { get; init; } = 256;

    /// <summary>Bytes of IP in a frame that the cards are to carry.</summary>
    public int Mtu { get; init; } = 1500;

    /// <summary>Whether cards are wanted: what they need and the machine lacks is a problem then, else a warning.</summary>
    public bool WantsCards => Devices.Count > 0;
}
