using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.CompilerServices;
using Dataplane.Memory;
using Dataplane.Observation;
using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.PacketTests;

/// <summary>
/// No cache line is written by two workers for each packet: a line that goes back and forth between cores costs more than all that
/// a worker does with a packet. What is checked is where things lie, since a time would depend on the machine.
/// </summary>
public sealed unsafe class CacheLineTests
{
    private const int Line = 64, Workers = 4;

    [Fact]
    public void WhatAWorkerWritesInTheSegmentHasLinesOfItsOwn()
    {
        using TestSwitch sw = new(Workers);
        var owners = new Dictionary<long, int>();
        for (int worker = 0; worker < Workers; worker++)
        {
            Claim(owners, worker, sw.Segment.Workers + worker, sizeof(WorkerRecord));
            Claim(owners, worker, sw.Segment.Counters(worker), sizeof(PortCounters) * sw.Segment.MaxPorts);
            Claim(owners, worker, Unsafe.AsPointer(ref sw.Segment.Events(worker)), Unsafe.SizeOf<EventRing>());
            Claim(owners, worker, sw.Segment.CaptureRing(worker), sizeof(CaptureRing));
        }
        // And none of them is in the line of the committed generation, which all read at every poll.
        Claim(owners, Workers, Unsafe.AsPointer(ref sw.Segment.Header), sizeof(SegmentHeader));
    }

    [Fact]
    public void TheFieldsThatAWorkerWritesHaveLinesOfTheirOwn()
    {
        using TestSwitch sw = new(Workers);
        // Nothing moves while it is looked at.
        Assert.True(GC.TryStartNoGCRegion(1 << 20));
        try
        {
            var owners = new Dictionary<long, int>();
            for (int i = 0; i < Workers; i++)
            {
                int fields = 0;
                foreach (FieldInfo field in typeof(Worker).GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic).Where(f => !f.IsInitOnly))
                {
                    Claim(owners, i, (void*)AddressOf(sw.Engine.Workers[i], field), 1);
                    fields++;
                }
                Assert.True(fields > 10, "the fields of a worker are found");
            }
        }
        finally
        {
            GC.EndNoGCRegion();
        }
    }

    [Fact]
    public void TheObjectBeforeAWorkerIsTwoLinesAway()
    {
        using TestSwitch sw = new(Workers);
        Assert.True(GC.TryStartNoGCRegion(1 << 20));
        try
        {
            foreach (Worker worker in sw.Engine.Workers)
            {
                nint first = typeof(Worker).GetFields(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
                    .Min(field => AddressOf(worker, field));
                Assert.InRange(first - *(nint*)Unsafe.AsPointer(ref Unsafe.AsRef(in worker)), 2 * Line, 4 * Line);
            }
        }
        finally
        {
            GC.EndNoGCRegion();
        }
    }

    private static void Claim(Dictionary<long, int> owners, int worker, void* start, long bytes)
    {
        for (long line = (long)start / Line; line <= ((long)start + bytes - 1) / Line; line++)
        {
            Assert.Equal(worker, owners.GetValueOrDefault(line, worker));
            owners[line] = worker;
        }
    }

    private static nint AddressOf(Worker worker, FieldInfo field)
    {
        var method = new DynamicMethod("address", typeof(nint), [typeof(Worker)], typeof(Worker), skipVisibility: true);
        ILGenerator il = method.GetILGenerator();
        il.Emit(OpCodes.Ldarg_0);
        il.Emit(OpCodes.Ldflda, field);
        il.Emit(OpCodes.Conv_U);
        il.Emit(OpCodes.Ret);
        return ((Func<Worker, nint>)method.CreateDelegate(typeof(Func<Worker, nint>)))(worker);
    }
}
