using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>
/// A network namespace of the test's own: a container, or the host that the daemon runs on. No packet of a test ever leaves
/// from the machine's own namespace.
/// </summary>
public sealed class Namespace : IDisposable
{
    /// <summary>All names begin with it; the process id of the test run follows.</summary>
    public const string Prefix = "dpsys-";

    private static int s_count;

    public Namespace(string label)
    {
        Label = label;
        Name = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}-{label}");
        Create();
    }

    public string Name { get; }

    public string Label { get; }

    public string FilePath => $"/run/netns/{Name}";

    /// <summary>Whether the name exists now.</summary>
    public bool Exists => File.Exists(FilePath);

    /// <summary>The command that runs another one inside. It becomes that command, so its process id is the command's.</summary>
    public string[] Inside(params string[] command) => ["nsenter", $"--net={FilePath}", "--", .. command];

    /// <summary>Runs a program inside to its end.</summary>
    public Finished Run(params string[] command) => Tool.Run(Inside(command));

    /// <summary>Runs a program inside, which must succeed; gives its output.</summary>
    public string Do(params string[] command) => Run(command).Succeeds().Output;

    /// <summary>Starts a program inside.</summary>
    public Tool Start(params string[] command) => Tool.Start(Inside(command));

    /// <summary>The namespace is made, again after <see cref="Delete"/>.</summary>
    public void Create()
    {
        NetNs.Create(Name).Dispose();
        Do("ip", "link", "set", "lo", "up");
    }

    public void Delete() => NetNs.Delete(Name);

    public void Dispose()
    {
        if (Exists)
        {
            Delete();
        }
    }
}
