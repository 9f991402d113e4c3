using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Memory;

/// <summary>The counts of learned addresses, which limits are held against, agree with the table whatever happens to it.</summary>
public sealed unsafe class LearnedCountsTests : IDisposable
{
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxPorts = 8, MaxBridges = 8, MacCapacity = 256 });
    private readonly SegmentWriter _writer;

    public LearnedCountsTests()
    {
        _writer = new SegmentWriter(_segment);
        SetBridge(1, Plain(1));
        SetBridge(2, Aware(0));
    }

    public void Dispose() => _segment.Dispose();

    private static BridgeRecord Plain(ushort index) => new() { Flags = BridgeFlags.Exists, FidBase = index };

    private static BridgeRecord Aware(int block) =>
        new() { Flags = BridgeFlags.Exists | BridgeFlags.VlanAware, FidBase = Fids.BlockBase(block), FidMask = 0xFFF };

    private int OnPort(int port) => _segment.PortRuntime[port].Learned;
    private int OnBridge(int bridge) => _segment.BridgeRuntime[bridge].Learned;

    private void SetBridge(int index, BridgeRecord record)
    {
        _writer.Begin();
        _writer.SetBridge(index, record);
        _writer.Commit();
    }

    /// <summary>As a worker does it.</summary>
    private void Learn(uint fid, ulong mac, ushort port, int bridge)
    {
        Assert.Equal(LearnResult.Learned, _segment.Macs.Learn(MacTable.Key(fid, mac), port, 100, allowNew: true, out _));
        LearnedCounts.Add(_segment, port, bridge);
    }

    [Fact]
    public void An_address_counts_on_its_port_and_its_bridge()
    {
        Learn(1, 2, port: 3, bridge: 1);
        Learn(1, 4, port: 3, bridge: 1);
        Learn(4096 + 7, 2, port: 4, bridge: 2);
        Assert.Equal((2, 1, 2, 1), (OnPort(3), OnPort(4), OnBridge(1), OnBridge(2)));
    }

    [Fact]
    public void A_move_changes_the_ports_only()
    {
        Learn(1, 2, port: 3, bridge: 1);
        LearnedCounts.Move(_segment, from: 3, to: 4);
        Assert.Equal((0, 1, 1), (OnPort(3), OnPort(4), OnBridge(1)));
    }

    [Theory]
    [InlineData(8)]
    [InlineData(ushort.MaxValue)]
    [InlineData(-1)]
    public void A_move_from_a_port_that_cannot_be_writes_nowhere_else(int from)
    {
        LearnedCounts.Move(_segment, from, to: 4);
        Assert.Equal(1, OnPort(4));
        Assert.Equal(1, Enumerable.Range(0, 8).Sum(OnPort));
    }

    [Fact]
    public void Removing_takes_off_again_in_both_kinds_of_bridge()
    {
        Learn(1, 2, port: 3, bridge: 1);
        Learn(4096 + 4094, 2, port: 3, bridge: 2);
        Assert.True(_writer.RemoveMac(MacTable.Key(1, 2)));
        Assert.Equal((1, 0, 1), (OnPort(3), OnBridge(1), OnBridge(2)));
        Assert.Equal(1, _writer.RemoveMacs(static (in MacEntry _, object? _) => true));
        Assert.Equal((0, 0, 0), (OnPort(3), OnBridge(1), OnBridge(2)));
    }

    [Theory]
    [InlineData(MacFlags.Static)]
    [InlineData(MacFlags.Drop)]
    [InlineData(MacFlags.Static | MacFlags.Drop)]
    public void What_was_never_learned_never_counts(MacFlags flags)
    {
        Assert.True(_writer.SetStaticMac(MacTable.Key(1, 2), 3, flags));
        Assert.Equal((0, 0), (OnPort(3), OnBridge(1)));
        Assert.True(_writer.RemoveMac(MacTable.Key(1, 2)));
        Assert.Equal((0, 0), (OnPort(3), OnBridge(1)));
    }

    [Fact]
    public void A_static_entry_takes_the_place_of_a_learned_one_in_the_counts_too()
    {
        Learn(1, 2, port: 3, bridge: 1);
        Assert.True(_writer.SetStaticMac(MacTable.Key(1, 2), 5, MacFlags.Static));
        Assert.Equal((0, 0, 0), (OnPort(3), OnPort(5), OnBridge(1)));
    }

    [Fact]
    public void An_entry_of_no_port_or_bridge_takes_nothing_off()
    {
        LearnedCounts.Remove(_segment, new MacEntry(7, 2, ushort.MaxValue, MacFlags.None, 100));
        Assert.Equal((0, 0), (Enumerable.Range(0, 8).Sum(OnPort), Enumerable.Range(0, 8).Sum(OnBridge)));
    }

    public static TheoryData<string, int, uint, BridgeRecord, uint> Renumberings => new()
    {
        { "plain to VLAN-aware", 1, 1, Aware(3), Fids.BlockBase(3) + 9u },
        { "VLAN-aware to plain", 2, 4096 + 9, Plain(2), 2 },
        { "another block", 2, 4096 + 9, Aware(7), Fids.BlockBase(7) + 9u },
    };

    [Theory]
    [MemberData(nameof(Renumberings))]
    public void When_a_bridge_gets_other_fids_the_addresses_of_the_old_ones_are_taken_off_its_count(
        string what, int bridge, uint oldFid, BridgeRecord after, uint newFid)
    {
        Assert.NotEmpty(what);
        Learn(oldFid, 2, port: 3, bridge);
        Learn(oldFid, 4, port: 3, bridge);
        SetBridge(bridge, after);
        Learn(newFid, 2, port: 4, bridge);
        Assert.Equal(2, _writer.RemoveMacs((in MacEntry entry, object? _) => entry.Fid == oldFid));
        Assert.Equal((0, 1, 1), (OnPort(3), OnPort(4), OnBridge(bridge)));

        // And that was that: the next change begins from there.
        SetBridge(bridge, after with { AgeingSeconds = 10 });
        Assert.Equal(1, _writer.RemoveMacs((in MacEntry entry, object? _) => entry.Fid == newFid));
        Assert.Equal((0, 0), (OnPort(4), OnBridge(bridge)));
    }

    [Fact]
    public void A_renumbering_that_is_abandoned_changes_no_count()
    {
        Learn(1, 2, port: 3, bridge: 1);
        _writer.Begin();
        _writer.SetBridge(1, Aware(3));
        _writer.Abandon();
        Assert.Equal(1, OnBridge(1));
        Assert.True(_writer.RemoveMac(MacTable.Key(1, 2)));
        Assert.Equal((0, 0), (OnPort(3), OnBridge(1)));
    }

    [Fact]
    public void Counting_anew_gives_what_the_table_holds()
    {
        Learn(1, 2, port: 3, bridge: 1);
        Learn(1, 4, port: 4, bridge: 1);
        Learn(4096 + 9, 2, port: 4, bridge: 2);
        _writer.SetStaticMac(MacTable.Key(1, 6), 3, MacFlags.Static);
        // Of nobody: a bridge that never was, and a port that cannot be.
        _segment.Macs.Learn(MacTable.Key(6, 2), 3, 100, allowNew: true, out _);
        _segment.Macs.Learn(MacTable.Key(1, 8), 60_000, 100, allowNew: true, out _);
        for (int i = 0; i < 8; i++)
        {
            _segment.PortRuntime[i].Learned = -i;
            _segment.BridgeRuntime[i].Learned = 100 * i;
        }
        LearnedCounts.Recount(_segment);
        Assert.Equal([0, 0, 0, 2, 2, 0, 0, 0], Enumerable.Range(0, 8).Select(OnPort));
        Assert.Equal([0, 3, 1, 0, 0, 0, 0, 0], Enumerable.Range(0, 8).Select(OnBridge));

        // So that nothing is left over, and nothing below zero, when they all go.
        Assert.Equal(6, _writer.RemoveMacs(static (in MacEntry _, object? _) => true));
        Assert.All(Enumerable.Range(0, 8), i => Assert.Equal((0, 0), (OnPort(i), OnBridge(i))));
    }
}
