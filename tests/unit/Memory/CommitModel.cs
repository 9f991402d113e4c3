using System.Globalization;
using System.Runtime.InteropServices;
using Dataplane.Interop.Linux;
using Dataplane.Memory;

namespace Dataplane.UnitTests.Memory;

/// <summary>
/// All orders in which the steps of readers and a writer of versioned records can follow each other: a search through every
/// state that they can reach. A step is one atomic action on real memory, by the code of <see cref="Versioned{T}"/> and
/// <see cref="Quiescence"/>, in the order of <see cref="SegmentWriter"/> and of a worker's poll. It checks that a burst sees
/// exactly the values of the generation that it read at its beginning, in both of two records.
/// </summary>
public sealed unsafe class CommitModel : IDisposable
{
    /// <summary>Ways to get it wrong. Each must be found.</summary>
    public enum Mistake
    {
        None,
        NoGracePeriod,
        GenerationBeforeRecords,
        /// <summary>Readers of a record that was never written look into its first slot, so that one must not be filled first.</summary>
        FirstSlotOfNewRecord,
        GenerationReadPerRecord,
        GenerationReadBeforeQuiescent,
        NewWriterDoesNotWait,
    }

    private const int Records = 2;
    private const int MaxReaders = 2;
    private const int MaxGeneration = 7;
    private const ulong InWriting = ulong.MaxValue;

    /// <summary>Which records each commit changes, as bits: both, one, the other one, both.</summary>
    private static readonly int[] s_changes = [3, 1, 2, 3];

    private readonly SharedMemory _memory = SharedMemory.CreatePrivate(4096);
    private readonly State* _now;
    private readonly Versioned<Pair>* _records;
    private readonly WorkerRecord* _workers;
    private readonly Quiescence _quiescence;
    private readonly int _readers, _bursts, _commits;
    private readonly Mistake _mistake;
    private readonly HashSet<(ulong, ulong)> _visited = [];

    public CommitModel(int readers, int bursts, int commits, Mistake mistake = Mistake.None)
    {
        _readers = readers;
        _bursts = bursts;
        _commits = commits;
        _mistake = mistake;
        _now = (State*)_memory.Pointer;
        _workers = (WorkerRecord*)(_memory.Pointer + 2048);
        _records = (Versioned<Pair>*)_now->Record;
        _now->Generation = _now->Epoch = 1;
        _quiescence = new Quiescence(&_now->Epoch, _workers, readers);
        for (int i = 0; i < readers; i++)
        {
            Reader(i)->Step = _mistake == Mistake.GenerationReadBeforeQuiescent ? ReaderStep.ReadGeneration : ReaderStep.Quiescent;
        }
    }

    public bool WriterMayDie { get; init; }
    public int States => _visited.Count;
    public int Deaths { get; private set; }

    public void Dispose() => _memory.Dispose();

    private struct Pair
    {
        public fixed ulong Words[2];
    }

    private enum ReaderStep : ulong
    {
        Quiescent, ReadGeneration, LoadFirstGeneration, LoadSecondGeneration, LoadA, LoadB, NextRecord, Done,
    }

    private enum WriterStep : ulong
    {
        WaitForGracePeriod, BeginWrite, WriteA, WriteB, EndWrite, StoreGeneration, Advance, Scrub, AdvanceOfNewWriter, Done,
    }

    private struct ReaderState
    {
        public ReaderStep Step;
        public ulong Burst, Record, BurstGeneration, Generation, G0, G1, A;
    }

    /// <summary>All that a step can change. Words only, so that equal states are equal bytes.</summary>
    private struct State
    {
        public ulong Generation, Epoch;
        /// <summary>Two versioned records: two generations, two values of two words.</summary>
        public fixed ulong Record[Records * 6];
        /// <summary>The announced epochs; copied from and to the workers' records around each step.</summary>
        public fixed ulong Announced[MaxReaders];
        public fixed ulong Readers[MaxReaders * 8];

        public WriterStep Writer;
        public ulong Commit, WritingRecord, WaitFor, Next, SecondSlot, HasDied;
        /// <summary>What each record holds, by generation.</summary>
        public fixed ulong Expected[Records * (MaxGeneration + 1)];
    }

    private sealed record Trail(Trail? Before, string Step)
    {
        public override string ToString() => Before is null ? Step : $"{Before}\n{Step}";
    }

    /// <summary>Visits every state. Gives what is wrong in one of them and the steps that lead there, or null.</summary>
    public string? Explore()
    {
        var stack = new Stack<(State State, int Actor, Trail? Trail)>();
        PushAll(stack, null);
        while (stack.TryPop(out (State State, int Actor, Trail? Trail) next))
        {
            *_now = next.State;
            for (int i = 0; i < _readers; i++)
            {
                _workers[i].Epoch = _now->Announced[i];
            }
            var trail = new Trail(next.Trail, Describe(next.Actor));
            string? problem = next.Actor switch
            {
                -2 => Die(),
                -1 => StepWriter(),
                _ => StepReader(Reader(next.Actor), next.Actor),
            };
            if (problem is not null)
            {
                return $"{problem}, after\n{trail}";
            }
            for (int i = 0; i < _readers; i++)
            {
                _now->Announced[i] = _workers[i].Epoch;
            }
            if (_visited.Add(Hash()))
            {
                PushAll(stack, trail);
            }
        }
        return null;
    }

    private ReaderState* Reader(int index) => (ReaderState*)_now->Readers + index;

    private void PushAll(Stack<(State, int, Trail?)> stack, Trail? trail)
    {
        for (int i = 0; i < _readers; i++)
        {
            if (Reader(i)->Step != ReaderStep.Done)
            {
                stack.Push((*_now, i, trail));
            }
        }
        if (_now->Writer != WriterStep.Done && (_now->Writer != WriterStep.WaitForGracePeriod || MayBegin()))
        {
            stack.Push((*_now, -1, trail));
        }
        if (WriterMayDie && _now->HasDied == 0 && _now->Writer != WriterStep.Done)
        {
            stack.Push((*_now, -2, trail));
        }
    }

    private bool MayBegin() => _mistake == Mistake.NoGracePeriod || _quiescence.HasPassed(_now->WaitFor);

    private string Describe(int actor) => actor switch
    {
        -2 => "the writer dies",
        -1 => string.Create(CultureInfo.InvariantCulture, $"writer: {_now->Writer}, commit {_now->Commit}, record {_now->WritingRecord}"),
        _ => string.Create(CultureInfo.InvariantCulture, $"reader {actor}: {Reader(actor)->Step}, burst {Reader(actor)->Burst}, record {Reader(actor)->Record}"),
    };

    private string? StepReader(ReaderState* r, int index)
    {
        ulong* words = _now->Record + (r->Record * 6);
        ulong slot = Versioned<Pair>.SeesSecond(r->G0, r->G1, r->Generation) ? 4ul : 2ul;
        switch (r->Step)
        {
            case ReaderStep.Quiescent:
                // Every other burst comes after a sleep.
                if (r->Burst % 2 == 1)
                {
                    _quiescence.Offline(index);
                }
                if (_workers[index].Epoch == Quiescence.OfflineEpoch)
                {
                    _quiescence.Online(index);
                }
                else
                {
                    _quiescence.Quiescent(index);
                }
                r->Step = _mistake == Mistake.GenerationReadBeforeQuiescent ? ReaderStep.LoadFirstGeneration : ReaderStep.ReadGeneration;
                return null;

            case ReaderStep.ReadGeneration:
                r->Generation = _now->Generation;
                if (r->Record == 0)
                {
                    r->BurstGeneration = r->Generation;
                }
                r->Step = _mistake == Mistake.GenerationReadBeforeQuiescent ? ReaderStep.Quiescent : ReaderStep.LoadFirstGeneration;
                return null;

            // What Versioned.Read loads, one word after the other.
            case ReaderStep.LoadFirstGeneration:
                r->G0 = words[0];
                r->Step = ReaderStep.LoadSecondGeneration;
                return null;

            case ReaderStep.LoadSecondGeneration:
                r->G1 = words[1];
                r->Step = ReaderStep.LoadA;
                return null;

            case ReaderStep.LoadA:
                r->A = words[slot];
                r->Step = ReaderStep.LoadB;
                return null;

            case ReaderStep.LoadB:
                ulong b = words[slot + 1];
                ulong expected = _now->Expected[(r->BurstGeneration * Records) + r->Record];
                r->Step = ReaderStep.NextRecord;
                return r->A == expected && b == expected ? null : string.Create(
                    CultureInfo.InvariantCulture,
                    $"reader {index} at generation {r->BurstGeneration} finds ({r->A}, {b}) in record {r->Record} and not {expected}");

            default:
                r->G0 = r->G1 = r->A = 0;
                if (++r->Record < Records)
                {
                    r->Step = _mistake == Mistake.GenerationReadPerRecord ? ReaderStep.ReadGeneration : ReaderStep.LoadFirstGeneration;
                    return null;
                }
                r->Record = r->Generation = r->BurstGeneration = 0;
                r->Step = _mistake == Mistake.GenerationReadBeforeQuiescent ? ReaderStep.ReadGeneration : ReaderStep.Quiescent;
                if (++r->Burst == (ulong)_bursts)
                {
                    r->Step = ReaderStep.Done;
                    _quiescence.Offline(index);
                }
                return null;
        }
    }

    private string? StepWriter()
    {
        State* s = _now;
        ref Versioned<Pair> record = ref _records[s->WritingRecord];
        ulong* words = s->Record + (s->WritingRecord * 6);
        int changes = s_changes[s->Commit % (ulong)s_changes.Length];
        switch (s->Writer)
        {
            case WriterStep.WaitForGracePeriod:
                s->Next = s->Generation + 1;
                s->WritingRecord = (changes & 1) != 0 ? 0ul : 1;
                s->Writer = _mistake == Mistake.GenerationBeforeRecords ? WriterStep.StoreGeneration : WriterStep.BeginWrite;
                return null;

            case WriterStep.BeginWrite:
                if (_mistake == Mistake.FirstSlotOfNewRecord && words[0] == 0 && words[1] == 0)
                {
                    s->SecondSlot = 0;
                    words[0] = InWriting;
                }
                else
                {
                    Versioned<Pair>.BeginWrite(ref record, s->Next);
                    s->SecondSlot = words[1] == InWriting ? 1ul : 0;
                }
                s->Writer = WriterStep.WriteA;
                return null;

            case WriterStep.WriteA:
                words[2 + (s->SecondSlot * 2)] = Value;
                s->Writer = WriterStep.WriteB;
                return null;

            case WriterStep.WriteB:
                words[3 + (s->SecondSlot * 2)] = Value;
                s->Writer = WriterStep.EndWrite;
                return null;

            case WriterStep.EndWrite:
                Versioned<Pair>.EndWrite(ref record, s->Next);
                if (s->WritingRecord == 0 && (changes & 2) != 0)
                {
                    s->WritingRecord = 1;
                    s->Writer = WriterStep.BeginWrite;
                }
                else
                {
                    s->Writer = _mistake == Mistake.GenerationBeforeRecords ? WriterStep.Advance : WriterStep.StoreGeneration;
                }
                return null;

            case WriterStep.StoreGeneration:
                for (int i = 0; i < Records; i++)
                {
                    s->Expected[(s->Next * Records) + (ulong)i] = (changes & (1 << i)) != 0 ? Value : s->Expected[(s->Generation * Records) + (ulong)i];
                }
                s->Generation = s->Next;
                s->Writer = _mistake == Mistake.GenerationBeforeRecords ? WriterStep.BeginWrite : WriterStep.Advance;
                return null;

            case WriterStep.Advance:
                s->WaitFor = _quiescence.Advance();
                s->WritingRecord = s->SecondSlot = 0;
                s->Writer = ++s->Commit < (ulong)_commits ? WriterStep.WaitForGracePeriod : WriterStep.Done;
                return null;

            case WriterStep.Scrub:
                Versioned<Pair>.Scrub(ref record, s->Generation);
                s->Writer = ++s->WritingRecord < Records ? WriterStep.Scrub : WriterStep.AdvanceOfNewWriter;
                return null;

            default: // AdvanceOfNewWriter
                s->WaitFor = _mistake == Mistake.NewWriterDoesNotWait ? 0 : _quiescence.Advance();
                s->WritingRecord = s->SecondSlot = 0;
                s->Writer = ++s->Commit < (ulong)_commits ? WriterStep.WaitForGracePeriod : WriterStep.Done;
                return null;
        }
    }

    /// <summary>What a commit writes: no other commit writes it, committed or not.</summary>
    private ulong Value => _now->Commit + 100;

    private string? Die()
    {
        Deaths++;
        _now->HasDied = 1;
        _now->WritingRecord = 0;
        _now->WaitFor = 0;
        _now->Writer = WriterStep.Scrub;
        return null;
    }

    private (ulong, ulong) Hash()
    {
        ulong a = 0x9E37_79B9_7F4A_7C15, b = 0xC2B2_AE3D_27D4_EB4F;
        foreach (ulong word in MemoryMarshal.Cast<State, ulong>(new ReadOnlySpan<State>(_now, 1)))
        {
            a = ulong.RotateLeft((a ^ word) * 0xFF51_AFD7_ED55_8CCD, 29);
            b = ulong.RotateLeft(b + word, 31) * 0xC4CE_B9FE_1A85_EC53;
        }
        return (a, b);
    }
}
