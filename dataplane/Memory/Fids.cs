namespace Dataplane.Memory;

/// <summary>
/// Filtering identifiers (IEEE 802.1Q, 8.8.8): 16 bits that name a bridge and a VLAN. A bridge that does not look at VLANs
/// has one, its own index (1 to 4,095). A VLAN-aware bridge has a block of 4,096, so that block + VLAN needs no table;
/// there are 15 such blocks.
/// </summary>
public static class Fids
{
    public const int BlockSize = 4096;
    public const int Blocks = 15;

    /// <summary>The first FID of a VLAN-aware bridge's block.</summary>
    /// <param name="block">0 to 14.</param>
    public static ushort BlockBase(int block) => block is >= 0 and < Blocks
        ? (ushort)((block + 1) * BlockSize)
        : throw new ArgumentOutOfRangeException(nameof(block), block, $"must be from 0 to {Blocks - 1}");

    /// <summary>The bridge that a FID belongs to now, 0 for none.</summary>
    public static int BridgeOf(Segment segment, ushort fid)
    {
        ulong generation = segment.Generation;
        if (fid < BlockSize)
        {
            return fid < segment.MaxBridges && segment.Bridge(fid, generation) is { FidMask: 0 } plain
                && (plain.Flags & BridgeFlags.Exists) != 0 ? fid : 0;
        }
        for (int i = 1; i < segment.MaxBridges; i++)
        {
            ref readonly BridgeRecord bridge = ref segment.Bridge(i, generation);
            if ((bridge.Flags & BridgeFlags.Exists) != 0 && bridge.FidMask != 0 && bridge.FidBase == (fid & ~(BlockSize - 1)))
            {
                return i;
            }
        }
        return 0;
    }

    /// <summary>The VLAN of a FID, 0 on a bridge that does not look at VLANs.</summary>
    public static ushort VlanOf(ushort fid) => fid < BlockSize ? (ushort)0 : (ushort)(fid & (BlockSize - 1));
}
