using Dataplane.Control.Compiler;
using Dataplane.Control.State;

namespace Dataplane.Control.Ports;

/// <summary>Makes the kernel's side of ports: TAP devices in network namespaces.</summary>
public interface IPortDevices
{
    /// <summary>
    /// What would keep <see cref="Create"/>, or the engine from opening a network device, from succeeding, as far as one can see without trying; else null.
    /// </summary>
    DeviceProblem? Probe(DeviceSpec spec);

    /// <summary>Makes a device and sets it up: address, MTU, IP addresses, up, routes. All of it or nothing.</summary>
    /// <param name="spec">A TAP device.</param>
    /// <param name="queues">Queues, one per worker.</param>
    /// <exception cref="DeviceException">It cannot be made.</exception>
    IPortDevice Create(DeviceSpec spec, int queues);

    /// <summary>Takes over a device by its descriptors, which this object closes from now on.</summary>
    /// <exception cref="DeviceException">The device is gone, or is not the one meant.</exception>
    IPortDevice Adopt(DeviceSpec spec, IReadOnlyList<int> fds);
}

/// <summary>A device. It exists as long as one of its descriptors is open, here or in the engine.</summary>
public interface IPortDevice : IDisposable
{
    /// <summary>One descriptor per queue; they stay this object's.</summary>
    IReadOnlyList<int> Fds { get; }

    /// <summary>Index of the device in its namespace.</summary>
    int IfIndex { get; }

    /// <summary>
    /// Plugs the cable in. Until then the kernel sends nothing, so that no packet reaches a port that is not committed yet,
    /// and IPv6 waits with its first messages.
    /// </summary>
    void Connect();

    /// <summary>Changes what differs between the settings and the wanted ones, and repairs what somebody else changed.</summary>
    /// <exception cref="DeviceException">Something cannot be set.</exception>
    void Update(DeviceSpec spec);

    /// <summary>
    /// Changes what of the host's kernel is reached by way of the router behind the device (<see cref="DeviceSpec.RouterMac"/>).
    /// Routes to the same prefixes that others made come first; nothing of theirs is touched.
    /// </summary>
    /// <param name="add">Prefixes, also such as are there already.</param>
    /// <param name="remove">Prefixes, also such as are gone already; null for all that are not in <paramref name="add"/>.</param>
    /// <exception cref="DeviceException">Something cannot be set.</exception>
    void Route(IReadOnlyCollection<Cidr> add, IReadOnlyCollection<Cidr>? remove);

    /// <summary>Why the device does not work any more, null when it does.</summary>
    string? WhyLost();
}

/// <summary>What is wrong with a device.</summary>
/// <param name="Field">Field of the port it is about: "tap.netns".</param>
/// <param name="Message">What is wrong.</param>
/// <param name="Fix">What to do about it; may be empty.</param>
public sealed record DeviceProblem(string Field, string Message, string Fix = "");

/// <summary>A device cannot be made or changed.</summary>
public sealed class DeviceException(DeviceProblem problem, Exception? inner = null) : Exception(problem.Message, inner)
{
    public DeviceProblem Problem { get; } = problem;
}
