using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Packets;

namespace Dataplane.Stages;

/// <summary>
/// Whether packets may go from one port to another, as one byte per pair. It depends on the configuration only (same bridge,
/// enabled, not both isolated, not the same port unless hairpin is on), so it is worked out on first use and forgotten when
/// the generation moves. One matrix per worker: nobody else reads or writes it.
/// </summary>
public sealed unsafe class EgressMatrix : IDisposable
{
    /// <summary>Not worked out yet.</summary>
    private const byte Unknown = 0;

    /// <summary>The packet may go.</summary>
    public const byte Forward = 1;

    private const byte FirstRefusal = 2; // + drop reason

    private readonly Segment _segment;
    private readonly int _ports;
    private readonly byte* _cells;
    private readonly ulong* _rowGeneration;
    private ulong _generation;

    public EgressMatrix(Segment segment)
    {
        _segment = segment;
        _ports = segment.MaxPorts;
        _cells = (byte*)NativeMemory.AlignedAlloc((nuint)(_ports * _ports), 64);
        _rowGeneration = (ulong*)NativeMemory.AllocZeroed((nuint)_ports, sizeof(ulong));
    }

    /// <summary>The verdicts for packets from a port, by output port. Valid until the next burst.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public byte* Row(int inPort, ulong generation)
    {
        byte* row = _cells + (inPort * _ports);
        if (_rowGeneration[inPort] != generation)
        {
            NativeMemory.Clear(row, (nuint)_ports);
            _rowGeneration[inPort] = generation;
        }
        _generation = generation;
        return row;
    }

    /// <summary>
    /// Why a packet may not go, or <see cref="DropReason.Count"/> when it may. Works out the verdict when the row did not have
    /// it.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    public DropReason Refusal(int inPort, int outPort, byte verdict)
    {
        if (verdict == Unknown)
        {
            DropReason reason = WorkOut(inPort, outPort);
            verdict = reason == DropReason.Count ? Forward : (byte)(FirstRefusal + reason);
            _cells[(inPort * _ports) + outPort] = verdict;
        }
        return verdict == Forward ? DropReason.Count : (DropReason)(verdict - FirstRefusal);
    }

    public void Dispose()
    {
        NativeMemory.AlignedFree(_cells);
        NativeMemory.Free(_rowGeneration);
    }

    private DropReason WorkOut(int inPort, int outPort)
    {
        ref readonly PortRecord input = ref _segment.Port(inPort, _generation);
        ref readonly PortRecord output = ref _segment.Port(outPort, _generation);
        if (!output.Has(PortFlags.Exists) || output.Bridge != input.Bridge)
        {
            return DropReason.OutputGone;
        }
        if (!output.Has(PortFlags.Enabled))
        {
            return DropReason.OutputDisabled;
        }
        if (inPort == outPort && !input.Has(PortFlags.Hairpin))
        {
            return DropReason.SamePort;
        }
        if (inPort != outPort && input.Has(PortFlags.Isolated) && output.Has(PortFlags.Isolated))
        {
            return DropReason.Isolated;
        }
        if (input.Has(PortFlags.Tunnel) && output.Has(PortFlags.Tunnel))
        {
            return DropReason.SplitHorizon;
        }
        return DropReason.Count;
    }
}
