using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>
/// A network namespace of the test's own, with a name nobody else uses, deleted by Dispose. Tests make devices in such
/// namespaces only, so that no packet of theirs leaves the machine's own one.
/// </summary>
internal sealed class TestNamespace : IDisposable
{
    private static int s_count;

    public TestNamespace()
    {
        Name = $"dpunit-{Environment.ProcessId}-{Interlocked.Increment(ref s_count)}";
        Ns = NetNs.Create(Name);
    }

    public string Name { get; }

    public NetNs Ns { get; }

    /// <summary>Runs a program inside and returns its output; throws when it fails.</summary>
    public string Exec(params string[] command) => Shell.Run(["ip", "netns", "exec", Name, .. command]);

    public void Dispose()
    {
        Ns.Dispose();
        NetNs.Delete(Name);
    }
}
