using Dataplane.Control.Compiler;

namespace Dataplane.Control.Ports;

/// <summary>PCI functions behind ports: sees to it that DPDK can have them, and gives them back to the kernel.</summary>
public interface IPciPorts
{
    /// <summary>What would keep <see cref="Prepare"/> from succeeding, as far as one can see without trying; else null.</summary>
    DeviceProblem? Probe(DeviceSpec spec);

    /// <summary>
    /// Before the engine is given the function: takes it from its driver, if the port says so (<see cref="DeviceSpec.Bind"/>).
    /// Nothing for other devices, and for a function that a program can have already.
    /// </summary>
    /// <param name="spec">The port's device.</param>
    /// <param name="port">Its name.</param>
    /// <exception cref="DeviceException">The function is the kernel's, and stays so.</exception>
    void Prepare(DeviceSpec spec, string port);

    /// <summary>Gives back what was taken for ports, but for these functions.</summary>
    /// <param name="wanted">Addresses that ports have.</param>
    /// <returns>What could not be given back, and why.</returns>
    IReadOnlyList<string> GiveBack(IReadOnlySet<string> wanted);
}
