namespace Dataplane.SystemTests.Harness;

/// <summary>Two containers on two nodes, and what lies between them. The first one's node is a switch of ours.</summary>
public abstract class OverlayPair : IDisposable
{
    private readonly List<IDisposable> _owned = [];

    /// <summary>The containers, by their IPv4 addresses.</summary>
    public abstract Station Here { get; }
    public abstract Station There { get; }

    /// <summary>The same by their IPv6 addresses.</summary>
    public Station HereByIPv6 => Here with { Address = IPv6Of(Here) };
    public Station ThereByIPv6 => There with { Address = IPv6Of(There) };

    /// <summary>Of the containers: what the underlay leaves.</summary>
    public abstract int Mtu { get; }

    public abstract uint Vni { get; }
    public abstract int UdpPort { get; }

    /// <summary>Those of ours: their counters must balance after every test.</summary>
    public abstract IReadOnlyList<Switch> Switches { get; }

    /// <summary>
    /// A device that sees all outer packets between the two. Not one that a switch of ours sends by: the kernel shows nobody what
    /// goes past its queues (PACKET_QDISC_BYPASS).
    /// </summary>
    public abstract (Namespace Namespace, string Device) Tap { get; }

    /// <summary>Addresses of the two in the underlay.</summary>
    public abstract (string Here, string There) EndPoints { get; }

    /// <summary>The log of every switch, for messages of failed assertions.</summary>
    public virtual string Log => string.Join('\n', Switches.Select(s => s.Log));

    public void Dispose()
    {
        foreach (IDisposable thing in Enumerable.Reverse(_owned))
        {
            thing.Dispose();
        }
        GC.SuppressFinalize(this);
    }

    /// <summary>The address of the same number in the container's IPv6 subnet.</summary>
    protected abstract string IPv6Of(Station station);

    /// <summary>Something that ends with the pair, after what came later.</summary>
    protected T Own<T>(T thing)
        where T : IDisposable
    {
        _owned.Add(thing);
        return thing;
    }

    /// <summary>Makes the parts; when one fails those made before it go.</summary>
    protected void Build(Action parts)
    {
        try
        {
            parts();
            // The first packets find that the nodes do not know each other's address on the link yet.
            Until.True(() => Ping.Once(Here, There.Address, 64, []).ExitCode == 0, "the containers reach each other", () => Log);
        }
        catch
        {
            Dispose();
            throw;
        }
    }
}
