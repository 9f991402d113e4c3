using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;

namespace Dataplane.ThroughputBench.Containers;

/// <summary>Two containers (network namespaces) with an <c>eth0</c> each, and what connects them.</summary>
public abstract class ContainerNetwork : IDisposable
{
    /// <summary>Addresses of the containers' devices.</summary>
    public const string FirstAddress = "10.77.0.1", SecondAddress = "10.77.0.2";

    /// <summary>Length of their prefix.</summary>
    protected const int PrefixLength = 24;

    protected const string Device = "eth0";

    protected ContainerNetwork()
    {
        First = Namespaces.Create("a");
        Second = Namespaces.Create("b");
    }

    public BenchNamespaces Namespaces { get; } = new();

    /// <summary>Names of the containers' namespaces.</summary>
    public string First { get; }

    public string Second { get; }

    /// <summary>Of the containers' devices, with what a tunnel's headers leave of 1,500 bytes (RFC 7348: 50 bytes).</summary>
    protected const int TunnelledMtu = 1450;

    /// <summary>VXLAN network identifier between two nodes.</summary>
    protected const int Vni = 7;

    /// <summary>Version of what connects them.</summary>
    public abstract string Version { get; }

    /// <summary>Processes that forward or watch over those that do; none where the kernel does it.</summary>
    public abstract IReadOnlyList<int> Processes { get; }

    /// <summary>CPU time of these so far.</summary>
    public TimeSpan CpuTime => TimeSpan.FromTicks(Processes.Sum(pid => ProcessTime.Of(pid).Ticks));

    /// <summary>Waits until a packet crosses: addresses are resolved then.</summary>
    /// <exception cref="BenchException">None does.</exception>
    public void WaitForPing() => Tool.Run("ip", ["netns", "exec", First, "ping", "-c", "1", "-w", "10", SecondAddress]);

    public virtual void Dispose() => Namespaces.Dispose();
}
