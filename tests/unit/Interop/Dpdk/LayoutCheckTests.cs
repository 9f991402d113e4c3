using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

public sealed class LayoutCheckTests
{
    [Fact]
    public void TheShimOfThisTreeFits()
    {
        Assert.Empty(LayoutCheck.Run());
        LayoutCheck.Require();
    }

    [Fact]
    public void EveryAlteredEntryIsReported()
    {
        DpdkLibrary.Load();
        var native = LayoutCheck.Native();
        for (var i = 0; i < native.Length; i++)
        {
            var entry = native[i];
            AssertOneMismatch(entry with { Offset = entry.Offset + 8 }, "expected");
            AssertOneMismatch(entry with { Size = entry.Size + 1 }, "expected");

            void AssertOneMismatch(LayoutEntry altered, string word)
            {
                LayoutEntry[] all = [.. native];
                all[i] = altered;
                var mismatch = Assert.Single(LayoutCheck.Compare(LayoutCheck.Managed(), all));
                Assert.Contains(entry.Name, mismatch);
                Assert.Contains(word, mismatch);
            }
        }
    }

    [Fact]
    public void AFieldThatOnlyOneSideHasIsReported()
    {
        LayoutEntry[] one = [new("s", "", 0, 8), new("s", "a", 0, 4)];
        LayoutEntry[] two = [new("s", "", 0, 8), new("s", "b", 4, 4)];

        Assert.Equal(["s.a is missing", "s.b is unknown here"], LayoutCheck.Compare(one, two));
        Assert.Empty(LayoutCheck.Compare(one, one));
    }

    [Fact]
    public void AMissingFunctionIsReported()
    {
        Assert.Equal(["dps_no_such_function"],
            LayoutCheck.MissingFunctions(DpdkLibrary.Handle, ["dps_rdtsc", "dps_no_such_function"]));
    }
}
