using Dataplane.Packets;

namespace Dataplane.UnitTests.Packets;

public sealed class DropReasonTests
{
    [Fact]
    public void Every_reason_has_a_name_and_a_text_of_its_own()
    {
        DropReason[] all = [.. DropReasons.All];
        Assert.Equal((int)DropReason.Count, all.Length);
        Assert.Equal(all.Length, all.Select(reason => reason.Name()).Distinct().Count());
        Assert.Equal(all.Length, all.Select(reason => reason.Text()).Distinct().Count());
        // All that has a number: none is in the enumeration and not in the list.
        Assert.Equal(Enum.GetValues<DropReason>().Except([DropReason.Count, DropReason.Limit]), all);
    }

    [Fact]
    public void Names_are_those_of_the_code_with_hyphens()
    {
        // So that who sees one in a counter finds it in the code, and a text that slipped by a line is found here.
        foreach (DropReason reason in DropReasons.All)
        {
            string hyphens = string.Concat(reason.ToString().Select((c, i) => char.IsUpper(c) && i != 0 ? $"-{char.ToLowerInvariant(c)}" : $"{char.ToLowerInvariant(c)}"));
            Assert.Equal(hyphens, reason.Name());
        }
    }

    [Fact]
    public void Texts_can_stand_in_a_table_of_a_terminal()
    {
        foreach (DropReason reason in DropReasons.All)
        {
            Assert.Matches("^[a-zV0-9][^\n]{10,90}[^.\\s]$", reason.Text());
            Assert.Matches("^[a-z]+(-[a-z]+){0,3}$", reason.Name());
        }
    }

    [Fact]
    public void Reasons_of_the_way_out_are_those_that_say_so_and_stand_together()
    {
        foreach (DropReason reason in DropReasons.All)
        {
            Assert.Equal(reason.Name().StartsWith("egress-", StringComparison.Ordinal), reason.IsEgress());
        }
    }

    [Theory]
    [InlineData(DropReason.Truncated, 0)]
    [InlineData(DropReason.NoBridge, 6)]
    [InlineData(DropReason.StormControl, 16)]
    [InlineData(DropReason.NoBuffer, 21)]
    [InlineData(DropReason.EgressDetached, 59)]
    [InlineData(DropReason.EgressDisabled, 65)]
    public void Numbers_are_part_of_the_segments_layout(DropReason reason, int number) => Assert.Equal(number, (int)reason);
}
