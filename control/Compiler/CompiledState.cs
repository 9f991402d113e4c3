using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>A port as the engine knows it.</summary>
public sealed record CompiledPort(int Index, string Name, DeviceSpec Device, PortRecord Record);

/// <summary>A static MAC entry as the table holds it.</summary>
/// <param name="Key">See <see cref="MacTable.Key"/>.</param>
/// <param name="Port">Index of its port, 0 for a drop entry.</param>
public readonly record struct CompiledMac(ulong Key, ushort Port, MacFlags Flags);

/// <summary>Desired state in the form of the segment's tables. Records are keyed by their index.</summary>
/// <param name="Bridges">Records by bridge index.</param>
/// <param name="Ports">Ports by port index.</param>
/// <param name="StaticMacs">Static entries. Compiled while they are read: there may be a million, which nobody keeps twice.</param>
public sealed record CompiledState(
    IReadOnlyDictionary<int, BridgeRecord> Bridges,
    IReadOnlyDictionary<int, CompiledPort> Ports,
    IEnumerable<CompiledMac> StaticMacs)
{
    public static CompiledState Empty { get; } = new(new Dictionary<int, BridgeRecord>(), new Dictionary<int, CompiledPort>(), []);
}

/// <summary>What a change makes of static entries: as many as it names, however many there are.</summary>
/// <param name="Set">Entries that are new or other than before, perhaps.</param>
/// <param name="Remove">Keys of entries that are gone.</param>
public sealed record CompiledMacs(IReadOnlyList<CompiledMac> Set, IReadOnlyList<ulong> Remove);

/// <summary>A change in the form of the segment's tables.</summary>
/// <param name="After">Everything as it is to be.</param>
/// <param name="Records">Whether port and bridge records may differ from before.</param>
/// <param name="Macs">Static entries that may differ from before; null when any of them may.</param>
public sealed record CompiledChange(CompiledState After, bool Records, CompiledMacs? Macs);
