using System.Text.RegularExpressions;

namespace Dataplane.Control;

/// <summary>Where an instance keeps its files. One directory holds all of them, except the segment, which needs shared memory.</summary>
public sealed partial record InstancePaths(string Name, string Directory, string SegmentDirectory)
{
    public const string DefaultInstance = "default";

    /// <summary>The files of an instance under /run/dataplane, or under $DATAPLANE_RUN_DIR.</summary>
    public static InstancePaths Of(string name)
    {
        string root = Environment.GetEnvironmentVariable("DATAPLANE_RUN_DIR") is { Length: > 0 } set ? set : "/run/dataplane";
        return new InstancePaths(name, Path.Combine(root, name), "/dev/shm");
    }

    /// <summary>Names that can be part of a path and of a socket's name.</summary>
    public static bool IsValidName(string name) =>
        name.Length is >= 1 and <= 32 && char.IsAsciiLetterOrDigit(name[0]) && name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.');

    /// <summary>The text with this instance in its commands: a remedy that is copied as it stands must not hit another instance.</summary>
    public string NamedIn(string text) => Name == DefaultInstance ? text : Command().Replace(text, $"`$1 --instance {Name}`");

    /// <summary>Locked, and holding the pid, while a daemon runs.</summary>
    public string Lock => Path.Combine(Directory, "control.pid");

    /// <summary>The API.</summary>
    public string ApiSocket => Path.Combine(Directory, "api.sock");

    /// <summary>Desired state, an SQLite file; its log is beside it.</summary>
    public string State => Path.Combine(Directory, "state.db");

    /// <summary>What was taken from the host, and how it was; see <see cref="Pci.BindingLedger"/>. Only there while there is something.</summary>
    public string Devices => Path.Combine(Directory, "devices.json");

    /// <summary>Locked while that is changed.</summary>
    public string DevicesLock => Path.Combine(Directory, "devices.lock");

    public string EngineSocket => Path.Combine(Directory, "engine.sock");

    /// <summary>Locked, and holding the pid, while an engine runs.</summary>
    public string EngineLock => Path.Combine(Directory, "engine.pid");

    public string EngineLog => Path.Combine(Directory, "engine.log");

    public string Segment => Path.Combine(SegmentDirectory, $"dataplane-{Name}");

    [GeneratedRegex("`(dataplane [a-z]+)`")]
    private static partial Regex Command();
}
