using Dataplane.Control.Compiler;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Control;

/// <summary>How a group's buckets are filled.</summary>
public sealed class RendezvousTests
{
    private static HopKey Hop(int gateway) => new(NextHopKind.Gateway4, 3, new IPv6Number(0, 0xC000_0200u + (uint)gateway));

    private static HopKey[] Fill(params (int Gateway, int Weight)[] members) =>
        Rendezvous.Fill(new RouteTarget(members.Select(m => new WeightedHop(Hop(m.Gateway), m.Weight))));

    [Fact]
    public void TheOrderOfMembersDoesNotMatter()
    {
        Assert.Equal(Fill((1, 1), (2, 1), (3, 2)), Fill((3, 2), (1, 1), (2, 1)));
        Assert.Equal(new RouteTarget([new(Hop(1), 1), new(Hop(2), 1)]), new RouteTarget([new(Hop(2), 1), new(Hop(1), 1)]));
        Assert.NotEqual(new RouteTarget([new(Hop(1), 1), new(Hop(2), 2)]), new RouteTarget([new(Hop(1), 2), new(Hop(2), 1)]));
    }

    [Fact]
    public void AMemberThatComesTakesBucketsAndMovesNoOthers()
    {
        for (int members = 1; members < 16; members++)
        {
            HopKey[] before = Fill([.. Enumerable.Range(1, members).Select(i => (i, 1))]), after = Fill([.. Enumerable.Range(1, members + 1).Select(i => (i, 1))]);
            Assert.All(before.Zip(after).Where(b => b.First != b.Second), b => Assert.Equal(Hop(members + 1), b.Second));
        }
    }

    [Fact]
    public void SharesAreAsWeightsSay()
    {
        // Over many groups, since 64 buckets are too few to tell.
        int heavy = 0, light = 0;
        for (int group = 0; group < 500; group++)
        {
            HopKey[] buckets = Fill((group * 2, 3), ((group * 2) + 1, 1));
            heavy += buckets.Count(b => b == Hop(group * 2));
            light += buckets.Count(b => b == Hop((group * 2) + 1));
        }
        Assert.Equal(500 * NextHopGroup.Buckets, heavy + light);
        Assert.InRange((double)heavy / light, 2.7, 3.3);
    }

    [Fact]
    public void OneMemberNamedTwiceIsOne()
    {
        Assert.True(new RouteTarget([new(Hop(1), 1), new(Hop(1), 5)]).IsSingle);
        Assert.Equal(new RouteTarget(Hop(1)), new RouteTarget([new(Hop(1), 7)]));
    }
}
