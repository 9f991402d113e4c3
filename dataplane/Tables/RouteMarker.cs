namespace Dataplane.Tables;

/// <summary>
/// Tells the arena which blocks a table consists of, when a writer finds one. It believes nothing: what it reads has survived a crash,
/// and a header that is wrong would make the writer write over what it should not.
/// </summary>
internal readonly unsafe struct RouteMarker(byte* memory, RouteArena arena, bool isIPv6)
{
    private readonly byte* _memory = memory;

    /// <exception cref="InvalidDataException">There is something that no writer has made.</exception>
    public void MarkTable(uint root)
    {
        if (root == 0)
        {
            return;
        }
        long routes = Kind(root) == RouteEntry.Page ? Mark(root, -1) : throw Damaged(root, "no page");
        uint count = ((RouteNode*)RouteEntry.At(_memory, root))->Routes;
        if (count != routes)
        {
            throw Damaged(root, $"{count} routes, and has {routes}");
        }
    }

    private static uint Kind(uint entry) => RouteEntry.Kind(entry);

    /// <summary>Gives the number of routes from here on.</summary>
    private long Mark(uint entry, int parentByte)
    {
        uint unit = RouteEntry.UnitOf(entry);
        int last = (isIPv6 ? 16 : 4) - 1;
        if (Kind(entry) == RouteEntry.Leaf)
        {
            int size = isIPv6 ? sizeof(RouteLeaf) : RouteEntry.Unit;
            Check(entry, arena.Contains(unit, size), "outside the arena");
            uint length = ((RouteLeaf*)RouteEntry.At(_memory, entry))->ValueAndLength >> 24;
            Check(entry, length > (parentByte + 1) * 8 && length <= (last + 1) * 8, "a prefix that cannot be there");
            Check(entry, arena.Mark(unit, size), "in the place of something else");
            return 1;
        }
        bool isPage = Kind(entry) == RouteEntry.Page;
        Check(entry, isPage || Kind(entry) == RouteEntry.Node, "of no kind");
        Check(entry, arena.Contains(unit, RouteNode.LargeHeader), "outside the arena");
        var header = (RouteNode*)RouteEntry.At(_memory, entry);
        int n = header->Byte;
        Check(entry, n > parentByte && n <= last && isPage == n < 2, "a stride byte that cannot be there");
        Check(entry, (header->Bitmap[0] & 1) != 0, "slots of no run");
        RouteNode counted = *header;
        int runs = RouteNode.Count(&counted);
        Check(entry, runs == RouteNode.Runs(header) && (!isPage || runs == RouteNode.Slots), "wrong counts");
        Check(entry, header->Longs <= RouteNode.Slots, "too many prefixes");
        int bytes = RouteView.SizeOf(RouteView.HeaderSizeOf(isPage, isIPv6), runs, header->Shorts, header->Longs);
        Check(entry, bytes <= RouteArena.MaxBlock && arena.Contains(unit, bytes), "outside the arena");
        Check(entry, arena.Mark(unit, bytes), "in the place of something else");
        var node = new RouteView(_memory, entry, isIPv6);
        long routes = header->Shorts + header->Longs;
        for (int i = 0; i < runs; i++)
        {
            if (RouteEntry.IsChild(node.Entries[i]))
            {
                routes += Mark(node.Entries[i], n);
            }
        }
        return routes;
    }

    private static void Check(uint entry, bool isRight, string problem)
    {
        if (!isRight)
        {
            throw Damaged(entry, problem);
        }
    }

    private static InvalidDataException Damaged(uint entry, string problem) =>
        new($"the routing tables are damaged: the block at {(ulong)RouteEntry.UnitOf(entry) * RouteEntry.Unit:x} is {problem}");
}
