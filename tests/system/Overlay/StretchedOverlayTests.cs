using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>Two switches of ours, an Open vSwitch, a link between all three, and one network that they share.</summary>
public abstract class StretchedNodes : OverlayPair
{
    private readonly Wire _wire;

    protected StretchedNodes()
    {
        _wire = Own(new Wire());
        Switches = [Own(new Switch()), Own(new Switch())];
        Build(() =>
        {
            Ovs = Own(new OvsNode(3));
            foreach ((Switch one, int number) in Switches.Zip([1, 2]))
            {
                _wire.Connect(one.Host, number);
                one.Start();
                Ours.Add(new StretchedNode(one, number));
            }
            _wire.Connect(Ovs.Namespace, Ovs.Number);
            Ovs.Connect(Mtu);
            foreach (StretchedNode node in Ours)
            {
                foreach (int other in new[] { 1, 2, 3 }.Where(n => n != node.Number))
                {
                    node.AddPeer(other);
                }
                Ovs.AddPeer(node.Number);
            }
        });
    }

    public List<StretchedNode> Ours { get; } = [];
    public OvsNode Ovs { get; private set; } = null!;

    /// <summary>A container on each node.</summary>
    public IReadOnlyList<Station> Stations => [Ours[0].Container, Ours[1].Container, Ovs.Container];

    public override Station Here => Ours[0].Container;
    public override int Mtu => 1450;
    public override uint Vni => StretchedNode.Vni;
    public override int UdpPort => StretchedNode.UdpPort;
    public override IReadOnlyList<Switch> Switches { get; }
    public override string Log => string.Join('\n', Switches.Select(s => s.Log).Append(Ovs.Log));
    public override (Namespace Namespace, string Device) Tap => (_wire.Namespace, Wire.End(1));
    public override (string Here, string There) EndPoints => (StretchedNode.UnderlayAddress(1), StretchedNode.UnderlayAddress(NumberThere));

    /// <summary>Of the node at the other end.</summary>
    public abstract int NumberThere { get; }

    /// <summary>A station by its IPv6 address.</summary>
    public Station ByIPv6(Station station) => station with { Address = IPv6Of(station) };

    protected override string IPv6Of(Station station) => StretchedNode.IPv6Of(int.Parse(station.Address.Split('.')[3], System.Globalization.CultureInfo.InvariantCulture));
}

/// <summary>What a network across nodes is for besides.</summary>
public abstract class StretchedOverlayTests(StretchedNodes nodes) : OverlayTests(nodes)
{
    private const string Source = "02:5a:00:00:00:01";

    [Fact]
    public void EveryoneIsSeenByTheAddressHeHas() =>
        KubernetesRules.Hold([.. nodes.Stations, .. nodes.Stations.Select(nodes.ByIPv6)]);

    /// <summary>Every node floods what its container sends to all, and no other passes it on.</summary>
    [Fact]
    public void AFloodReachesEveryContainerOnce()
    {
        const uint First = 0x5000_0000;
        for (uint number = 0; number < nodes.Stations.Count; number++)
        {
            Station from = nodes.Stations[(int)number];
            List<Recording> others = [.. nodes.Stations.Where(s => s != from).Select(s => s.Record($"ether proto {Frame.Experimental}"))];
            try
            {
                using RawSocket raw = from.OpenRaw();
                // The second one comes behind all copies of the first one.
                byte[] first = Frame.Of(Frame.Broadcast, Source, First + number), last = Frame.Of(Frame.Broadcast, Source, First + number + 100);
                raw.Send(first);
                others.ForEach(o => o.WaitFor(first));
                raw.Send(last);
                others.ForEach(o => o.WaitFor(last));
                Assert.All(others, o => Assert.Equal([first, last], o.Frames));
            }
            finally
            {
                others.ForEach(o => o.Dispose());
            }
        }
    }

    /// <summary>And from then on what is for it goes there alone.</summary>
    [Fact]
    public void AnAddressIsLearnedBehindItsTunnel()
    {
        Ping.Reaches(nodes.Here, nodes.There.Address);
        Assert.Equal($"node{nodes.NumberThere}", nodes.Ours[0].Switch.Api.PortOf("shared", nodes.There.Mac));
    }

    /// <summary>A bridge has nobody to say that a frame is too large; it is dropped, and counted with that reason.</summary>
    [Fact]
    public void AFrameTooLargeForTheTunnelIsCounted()
    {
        const string Reason = "egress-tunnel-mtu";
        Station from = nodes.Here;
        string tunnel = $"node{nodes.NumberThere}";
        ulong before = nodes.Ours[0].Switch.Api.Drops(tunnel, Reason);
        from.Namespace.Do("ip", "link", "set", from.Device, "mtu", "1500");
        try
        {
            Ping.DoesNotReach(from, nodes.There.Address, nodes.Mtu + 1, "-M", "do");
            Until.True(() => nodes.Ours[0].Switch.Api.Drops(tunnel, Reason) == before + 3, "three frames were too large", () => $"{nodes.Ours[0].Switch.Api.Counters(tunnel)}");
        }
        finally
        {
            from.Namespace.Do("ip", "link", "set", from.Device, "mtu", $"{nodes.Mtu}");
        }
    }
}

/// <summary>Between two of ours.</summary>
public sealed class StretchedSwitchNodes : StretchedNodes
{
    public override int NumberThere => 2;
    public override Station There => Ours[1].Container;
}

public sealed class StretchedSwitchTests(StretchedSwitchNodes nodes) : StretchedOverlayTests(nodes), IClassFixture<StretchedSwitchNodes>
{
    protected override long StreamBytes => 1L << 28;
}

/// <summary>Between one of ours and Open vSwitch.</summary>
public sealed class StretchedOvsNodes : StretchedNodes
{
    public override int NumberThere => 3;
    public override Station There => Ovs.Container;
}

public sealed class StretchedOvsTests(StretchedOvsNodes nodes) : StretchedOverlayTests(nodes), IClassFixture<StretchedOvsNodes>;
