namespace Dataplane.Tables;

/// <summary>A node or page as the writer looks at it, with all that lies behind the header.</summary>
internal readonly unsafe struct RouteView
{
    private readonly byte* _arena;

    public RouteView(byte* arena, uint entry, bool isIPv6)
    {
        _arena = arena;
        Header = (RouteNode*)RouteEntry.At(arena, entry);
        IsPage = RouteEntry.Kind(entry) == RouteEntry.Page;
        HeaderSize = HeaderSizeOf(IsPage, isIPv6);
        Runs = RouteNode.Runs(Header);
    }

    public RouteNode* Header { get; }
    public bool IsPage { get; }
    public int HeaderSize { get; }

    /// <summary>The number of entries.</summary>
    public int Runs { get; }

    public uint* Entries => (uint*)((byte*)Header + HeaderSize);
    public Span<uint> Shorts => new(Entries + Runs, Header->Shorts);
    public Span<byte> Longs => new(Entries + Runs + Header->Shorts, Header->Longs);

    /// <summary>Bytes of header, entries and prefixes.</summary>
    public int Size => SizeOf(HeaderSize, Runs, Header->Shorts, Header->Longs);

    public static int HeaderSizeOf(bool isPage, bool isIPv6) => isPage || isIPv6 ? RouteNode.LargeHeader : RouteNode.SizeInBytes;

    public static int SizeOf(int header, int runs, int shorts, int longs) => header + (4 * (runs + shorts)) + longs;

    /// <summary>The entry of a slot, to read or to replace one child by another.</summary>
    public uint* EntryOf(int slot) => Entries + RouteNode.IndexOf(Header, (uint)slot);

    /// <summary>What the longest prefix of this node says for a slot, whether or not there is a child.</summary>
    public uint ValueOf(int slot)
    {
        uint entry = *EntryOf(slot);
        return RouteEntry.IsChild(entry) ? *CoverOf(_arena, entry) : entry;
    }

    /// <summary>The value of one of the node's prefixes, 0 when it is not among them.</summary>
    public uint Find(int number)
    {
        if (number >= RouteNode.Slots)
        {
            int slot = number - RouteNode.Slots;
            return Longs.Contains((byte)slot) ? ValueOf(slot) : 0;
        }
        foreach (uint prefix in Shorts)
        {
            if (prefix >> 24 == number)
            {
                return prefix & RouteEntry.MaxValue;
            }
        }
        return 0;
    }

    /// <summary>Where a child of any kind holds its cover.</summary>
    public static uint* CoverOf(byte* arena, uint entry)
    {
        byte* at = RouteEntry.At(arena, entry);
        return RouteEntry.Kind(entry) == RouteEntry.Leaf ? &((RouteLeaf*)at)->Cover : &((RouteNode*)at)->Cover;
    }
}
