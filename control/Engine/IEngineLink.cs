using Dataplane.Control.Compiler;

namespace Dataplane.Control.Engine;

/// <summary>A port that the engine has.</summary>
/// <param name="Index">Index of its record.</param>
/// <param name="Name">As it was attached.</param>
/// <param name="Spec">As it was attached.</param>
/// <param name="Workers">The worker that polls each receive queue.</param>
public sealed record AttachedPort(int Index, string Name, string Spec, IReadOnlyList<int> Workers);

/// <summary>What the control process asks of the engine process; everything else goes by way of the segment.</summary>
public interface IEngineLink
{
    /// <summary>Why the engine cannot be asked anything now, null when it can.</summary>
    string? WhyUnavailable { get; }

    /// <summary>Whether it crashes again and again.</summary>
    bool IsFailing { get; }

    /// <summary>The ports the engine has now.</summary>
    /// <exception cref="EngineUnavailableException">The engine is not running.</exception>
    IReadOnlyList<AttachedPort> Attached();

    /// <summary>Attaches a device.</summary>
    /// <param name="index">Index of the port's record.</param>
    /// <param name="name">Name of the port.</param>
    /// <param name="device">The device.</param>
    /// <param name="fds">Descriptors of a TAP, one per queue. The engine gets duplicates, the caller keeps its own.</param>
    /// <exception cref="EngineRefusedException">The engine cannot: no such device, wrong arguments.</exception>
    /// <exception cref="EngineUnavailableException">The engine is not running.</exception>
    void Attach(int index, string name, DeviceSpec device, IReadOnlyList<int> fds);

    /// <summary>Detaches a device; no error when there is none.</summary>
    /// <exception cref="EngineUnavailableException">The engine is not running.</exception>
    void Detach(int index);

    /// <summary>Gives a receive queue to another worker while traffic flows: nothing is lost or overtaken.</summary>
    /// <param name="index">Index of the port's record.</param>
    /// <param name="queue">The queue, from 0.</param>
    /// <param name="worker">The worker, from 0.</param>
    /// <exception cref="EngineRefusedException">There is no such port, queue or worker.</exception>
    /// <exception cref="EngineUnavailableException">The engine is not running.</exception>
    void Assign(int index, int queue, int worker);

    /// <summary>Duplicates of the descriptors of an attached TAP, which the caller closes.</summary>
    /// <exception cref="EngineUnavailableException">The engine is not running.</exception>
    IReadOnlyList<int> Fds(int index);
}

/// <summary>The engine process is not there, or does not answer.</summary>
public sealed class EngineUnavailableException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>The engine refused a request, with its reason.</summary>
public sealed class EngineRefusedException(string message) : Exception(message);
