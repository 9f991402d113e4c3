using Dataplane.Memory;

namespace Dataplane.UnitTests.Memory;

public sealed class FidsTests : IDisposable
{
    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxBridges = 32 });

    public void Dispose() => _segment.Dispose();

    [Fact]
    public void Blocks_lie_above_the_bridges_that_do_not_look_at_vlans_and_do_not_overlap()
    {
        int[] bases = [.. Enumerable.Range(0, Fids.Blocks).Select(b => (int)Fids.BlockBase(b))];
        Assert.Equal(Enumerable.Range(1, 15).Select(n => n * 4096), bases);
        Assert.True(SegmentOptions.BridgeLimit <= bases[0]);
        Assert.Equal(ushort.MaxValue, bases[^1] + 0xFFF);
    }

    [Theory]
    [InlineData(-1)]
    [InlineData(15)]
    [InlineData(int.MinValue)]
    [InlineData(int.MaxValue)]
    public void There_is_no_other_block(int block) => Assert.Throws<ArgumentOutOfRangeException>(() => Fids.BlockBase(block));

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 0)]
    [InlineData(4095, 0)]
    [InlineData(4096, 0)]
    [InlineData(4096 + 1, 1)]
    [InlineData(4096 + 4094, 4094)]
    [InlineData(8192, 0)]
    [InlineData(65535, 4095)]
    public void The_vlan_is_in_the_fid(int fid, int vlan) => Assert.Equal(vlan, Fids.VlanOf((ushort)fid));

    [Theory]
    [InlineData(0, 0)] // "none"
    [InlineData(1, 1)] // plain
    [InlineData(2, 0)] // looks at VLANs: its own index is no FID
    [InlineData(3, 0)] // never made
    [InlineData(5, 0)] // removed
    [InlineData(31, 31)] // the last one
    [InlineData(32, 0)] // beyond the table
    [InlineData(4095, 0)]
    [InlineData(2 * 4096, 2)] // block 1
    [InlineData((2 * 4096) + 4095, 2)]
    [InlineData((2 * 4096) - 1, 0)] // a block of nobody
    [InlineData(3 * 4096, 0)]
    [InlineData(15 * 4096, 4)] // the last block
    [InlineData(65535, 4)]
    [InlineData(6 * 4096, 0)] // of a bridge that was removed
    public void The_bridge_of_a_fid_is_the_one_that_has_it_now(int fid, int bridge)
    {
        var writer = new SegmentWriter(_segment);
        writer.Begin();
        writer.SetBridge(1, Plain(1));
        writer.SetBridge(2, Aware(1));
        writer.SetBridge(4, Aware(14));
        writer.SetBridge(5, Plain(5));
        writer.SetBridge(6, Aware(5));
        writer.SetBridge(31, Plain(31));
        writer.Commit();
        writer.Begin();
        writer.SetBridge(5, default);
        writer.SetBridge(6, default);
        writer.Commit();
        Assert.Equal(bridge, Fids.BridgeOf(_segment, (ushort)fid));
    }

    private static BridgeRecord Plain(ushort index) => new() { Flags = BridgeFlags.Exists, FidBase = index };

    private static BridgeRecord Aware(int block) =>
        new() { Flags = BridgeFlags.Exists | BridgeFlags.VlanAware, FidBase = Fids.BlockBase(block), FidMask = 0xFFF };
}
