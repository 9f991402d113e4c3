using System.Runtime.InteropServices;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Memory;

public sealed class VersionedTests
{
    [StructLayout(LayoutKind.Sequential)]
    private struct Pair
    {
        public ulong A, B;
        public static Pair Of(ulong n) => new() { A = n, B = n };
    }

    [Fact]
    public void A_record_never_written_is_zero_for_every_reader()
    {
        var record = default(Versioned<Pair>);
        Assert.Equal(default, Versioned<Pair>.Read(in record, 0));
        Assert.Equal(default, Versioned<Pair>.Read(in record, 1));
        Assert.Equal(default, Versioned<Pair>.Read(in record, ulong.MaxValue - 1));
    }

    [Fact]
    public void A_version_is_seen_from_its_generation_on()
    {
        var record = default(Versioned<Pair>);
        for (ulong generation = 2; generation < 12; generation++)
        {
            Versioned<Pair>.Write(ref record, Pair.Of(generation), generation);
            Assert.Equal(generation == 2 ? 0 : generation - 1, Versioned<Pair>.Read(in record, generation - 1).A);
            Assert.Equal(generation, Versioned<Pair>.Read(in record, generation).A);
            Assert.Equal(generation, Versioned<Pair>.Read(in record, generation + 5).B);
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void The_last_of_several_writes_for_one_generation_counts_and_the_version_before_stays(int versionsBefore)
    {
        var record = default(Versioned<Pair>);
        ulong generation = 1;
        for (int i = 0; i < versionsBefore; i++)
        {
            generation++;
            Versioned<Pair>.Write(ref record, Pair.Of(generation), generation);
        }
        for (ulong n = 100; n < 105; n++)
        {
            Versioned<Pair>.Write(ref record, Pair.Of(n), generation + 1);
            Assert.Equal(generation, Versioned<Pair>.Read(in record, generation).A);
        }
        Assert.Equal(104ul, Versioned<Pair>.Read(in record, generation + 1).A);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void Scrubbing_takes_back_what_was_not_committed(int versionsBefore)
    {
        var record = default(Versioned<Pair>);
        ulong generation = 1;
        for (int i = 0; i < versionsBefore; i++)
        {
            generation++;
            Versioned<Pair>.Write(ref record, Pair.Of(generation), generation);
        }
        ulong visible = Versioned<Pair>.Read(in record, generation).A;
        Assert.False(Versioned<Pair>.Scrub(ref record, generation));

        Versioned<Pair>.Write(ref record, Pair.Of(99), generation + 1);
        Assert.True(Versioned<Pair>.Scrub(ref record, generation));
        Assert.Equal(visible, Versioned<Pair>.Read(in record, generation).A);
        Assert.Equal(visible, Versioned<Pair>.Read(in record, generation + 1).A);

        Versioned<Pair>.BeginWrite(ref record, generation + 1).A = 98; // and dies
        Assert.True(Versioned<Pair>.Scrub(ref record, generation));
        Assert.Equal(visible, Versioned<Pair>.Read(in record, generation + 1).B);

        Versioned<Pair>.Write(ref record, Pair.Of(97), generation + 1);
        Assert.Equal(visible, Versioned<Pair>.Read(in record, generation).A);
        Assert.Equal(97ul, Versioned<Pair>.Read(in record, generation + 1).A);
    }

    [Fact]
    public void Every_order_of_the_steps_of_readers_and_a_writer_keeps_commits_whole()
    {
        using var one = new CommitModel(readers: 1, bursts: 4, commits: 4);
        Assert.Null(one.Explore());
        Assert.True(one.States > 3_000, $"{one.States} states");

        using var two = new CommitModel(readers: 2, bursts: 2, commits: 3);
        Assert.Null(two.Explore());
        Assert.True(two.States > 50_000, $"{two.States} states");
    }

    [Fact]
    public void A_writer_that_dies_at_any_step_leaves_nothing_that_a_reader_or_the_next_writer_stumbles_on()
    {
        using var model = new CommitModel(readers: 1, bursts: 4, commits: 4) { WriterMayDie = true };
        Assert.Null(model.Explore());
        Assert.True(model.Deaths > 30, $"{model.Deaths} deaths");
    }

    [Theory]
    [InlineData(CommitModel.Mistake.NoGracePeriod)]
    [InlineData(CommitModel.Mistake.GenerationBeforeRecords)]
    [InlineData(CommitModel.Mistake.FirstSlotOfNewRecord)]
    [InlineData(CommitModel.Mistake.GenerationReadPerRecord)]
    [InlineData(CommitModel.Mistake.GenerationReadBeforeQuiescent)]
    public void The_model_finds_a_wrong_protocol(CommitModel.Mistake mistake)
    {
        using var model = new CommitModel(readers: 1, bursts: 4, commits: 4, mistake);
        Assert.NotNull(model.Explore());
    }

    [Fact]
    public void The_model_finds_a_new_writer_that_trusts_the_dead_one_to_have_waited()
    {
        using var model = new CommitModel(readers: 1, bursts: 4, commits: 4, CommitModel.Mistake.NewWriterDoesNotWait) { WriterMayDie = true };
        Assert.NotNull(model.Explore());
    }
}
