using Dataplane.Control.Compiler;
using Dataplane.Control.Ports;

namespace Dataplane.Control.Runtime;

/// <summary>What the control process knows of a port's device, replaced as a whole so that readers need no lock.</summary>
/// <param name="Problem">Why the port does not work, null when it does.</param>
/// <param name="DeviceGone">Whether that is because the device or its namespace is gone.</param>
/// <param name="IfIndex">Index of the device in its namespace, 0 for none.</param>
/// <param name="Recoveries">Times the device was made again.</param>
public sealed record PortHealth(string? Problem, bool DeviceGone, int IfIndex, int Recoveries);

/// <summary>A port and its device. Changed only by <see cref="Controller"/>, which does one thing at a time.</summary>
internal sealed class LivePort(int index, string name, DeviceSpec spec)
{
    /// <summary>Waits between attempts to make a lost device again.</summary>
    private static readonly TimeSpan FirstDelay = TimeSpan.FromSeconds(1), LongestDelay = TimeSpan.FromSeconds(5);

    private TimeSpan _delay = FirstDelay;

    public int Index { get; } = index;
    public string Name { get; } = name;

    /// <summary>As it is set up now, or was to be when that failed.</summary>
    public DeviceSpec Spec { get; set; } = spec;

    /// <summary>The TAP device; null for other kinds, and while it is lost.</summary>
    public IPortDevice? Device
    {
        get;
        set
        {
            field = value;
            HostRoutesKnown = false;
        }
    }

    /// <summary>Whether the host's routes by way of this device are as they are to be.</summary>
    public bool HostRoutesKnown { get; set; }

    /// <summary>Whether some may be there, also when none is to be.</summary>
    public bool HostRoutesMade { get; set; } = true;

    /// <summary>Why they are not, as it was logged.</summary>
    public string? HostRoutesProblem { get; set; }

    /// <summary>Whether the engine has it.</summary>
    public bool Attached { get; set; }

    public PortHealth Health { get; private set; } = new(null, false, 0, 0);

    /// <summary>When to try again.</summary>
    public DateTimeOffset NextAttempt { get; private set; }

    public void SetWorking(bool recovered)
    {
        Health = new PortHealth(null, false, Device?.IfIndex ?? 0, Health.Recoveries + (recovered ? 1 : 0));
        _delay = FirstDelay;
    }

    /// <summary>Notes why the port does not work, and when to try again: later after every failure.</summary>
    public void SetBroken(string reason, bool deviceGone, DateTimeOffset now, bool tryAtOnce)
    {
        Health = Health with { Problem = reason, DeviceGone = deviceGone, IfIndex = Device?.IfIndex ?? 0 };
        NextAttempt = tryAtOnce ? now : now + _delay;
        if (!tryAtOnce)
        {
            _delay = TimeSpan.FromTicks(Math.Min(_delay.Ticks * 2, LongestDelay.Ticks));
        }
    }
}
