using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.ThroughputBench.Harness;

/// <summary>
/// Network namespaces of a benchmark. They go with it; what a killed one left goes when the next begins.
/// </summary>
public sealed class BenchNamespaces : IDisposable
{
    private const string Prefix = "dpbench-";

    private readonly Dictionary<string, NetNs> _open = [];

    public BenchNamespaces()
    {
        foreach (string name in NetNs.List().Where(IsStale))
        {
            NetNs.Delete(name);
        }
    }

    /// <summary>Makes one. Gives its name, as <c>ip netns</c> knows it.</summary>
    public string Create(string purpose)
    {
        string name = string.Create(CultureInfo.InvariantCulture, $"{Prefix}{Environment.ProcessId}-{purpose}");
        _open.Add(name, NetNs.Create(name));
        return name;
    }

    /// <summary>One of them, by its name.</summary>
    public NetNs this[string name] => _open[name];

    public void Dispose()
    {
        foreach ((string name, NetNs ns) in _open)
        {
            ns.Dispose();
            if (NetNs.List().Contains(name))
            {
                NetNs.Delete(name);
            }
        }
        _open.Clear();
    }

    private static bool IsStale(string name) =>
        name.StartsWith(Prefix, StringComparison.Ordinal)
        && int.TryParse(name[Prefix.Length..].Split('-')[0], NumberStyles.None, CultureInfo.InvariantCulture, out int pid) && !Directory.Exists($"/proc/{pid}");
}
