using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Dataplane.Observation;
using Dataplane.Interop.Linux;
using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>A segment that cannot be used, with what the operator can do about it.</summary>
public sealed class SegmentException(string message) : Exception(message);

/// <summary>
/// The memory that the control process, the engine and its workers share: a header and tables at offsets that it names.
/// It lies in a file under /dev/shm (or hugetlbfs) for a running switch, and in private memory for tests and benchmarks;
/// the code that uses it cannot tell. It holds offsets, never pointers.
/// </summary>
public sealed unsafe class Segment : IDisposable
{
    internal const string Remedy = "stop what uses it, then remove it with `dataplane clean`";

    private readonly byte* _base;
    private readonly ulong _length;
    private IDisposable? _owner;

    private Segment(byte* memory, ulong length, IDisposable owner)
    {
        _base = memory;
        _length = length;
        _owner = owner;
    }

    /// <summary>A segment in private memory.</summary>
    public static Segment CreatePrivate(SegmentOptions? options = null)
    {
        options ??= new SegmentOptions();
        ulong length = RequiredLength(options);
        SharedMemory memory = SharedMemory.CreatePrivate((nuint)length, alignment: 4096);
        var segment = new Segment(memory.Pointer, length, memory);
        segment.Initialise(options);
        return segment;
    }

    /// <summary>Makes the file, which must not exist. ENOSPC when the file system cannot hold all of it.</summary>
    public static Segment Create(string path, SegmentOptions options)
    {
        ulong length = RequiredLength(options);
        SharedMemory memory = SharedMemory.Create(path, (nuint)length, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        var segment = new Segment(memory.Pointer, length, memory);
        segment.Initialise(options);
        return segment;
    }

    /// <summary>Maps an existing file and checks that this program understands it.</summary>
    /// <exception cref="SegmentException">It is of another layout, or not a segment, or damaged, or was never finished.</exception>
    /// <exception cref="LinuxException">There is no such file, or it may not be opened.</exception>
    public static Segment Open(string path, bool readOnly = false)
    {
        SharedMemory memory;
        try
        {
            memory = SharedMemory.Open(path, readOnly);
        }
        catch (LinuxException e) when (e.Errno == Errno.EINVAL)
        {
            throw new SegmentException($"{path} is not a segment, or was never finished (it is empty); {Remedy}");
        }
        try
        {
            Check(path, memory);
            return new Segment(memory.Pointer, ((SegmentHeader*)memory.Pointer)->Length, memory);
        }
        catch
        {
            memory.Dispose();
            throw;
        }
    }

    /// <summary>Puts it on a NUMA node, or on several in turn; see <see cref="NumaMemory.Place"/>.</summary>
    /// <exception cref="LinuxException">A node does not exist.</exception>
    public void Place(IReadOnlyCollection<int> nodes) => NumaMemory.Place(_base, (nuint)_length, nodes);

    public ref SegmentHeader Header
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => ref *(SegmentHeader*)_base;
    }

    public int MaxWorkers => (int)Header.MaxWorkers;
    public int MaxPorts => (int)Header.MaxPorts;
    public int MaxBridges => (int)Header.MaxBridges;
    public int MaxVrfs => (int)Header.MaxVrfs;
    public int MaxNextHops => (int)Header.MaxNextHops;
    public int MaxNextHopGroups => (int)Header.MaxNextHopGroups;
    public int MaxFrontends => (int)Header.MaxFrontends;
    public int MaxBackends => (int)Header.MaxBackends;
    public int MaxNatPools => (int)Header.MaxNatPools;

    /// <summary>Bytes of the whole segment.</summary>
    public ulong Length => _length;

    public Versioned<PortRecord>* Ports => (Versioned<PortRecord>*)At(SectionId.Ports);
    public Versioned<BridgeRecord>* Bridges => (Versioned<BridgeRecord>*)At(SectionId.Bridges);
    public Versioned<InterfaceRecord>* Interfaces => (Versioned<InterfaceRecord>*)At(SectionId.Interfaces);
    public Versioned<VrfRecord>* Vrfs => (Versioned<VrfRecord>*)At(SectionId.Vrfs);
    public Versioned<NextHopRecord>* NextHops => (Versioned<NextHopRecord>*)At(SectionId.NextHops);
    public Versioned<NextHopGroup>* NextHopGroups => (Versioned<NextHopGroup>*)At(SectionId.NextHopGroups);
    public Versioned<TunnelRecord>* Tunnels => (Versioned<TunnelRecord>*)At(SectionId.Tunnels);
    public byte* RouteArena => At(SectionId.RouteArena);
    public Versioned<FrontendRecord>* Frontends => (Versioned<FrontendRecord>*)At(SectionId.Frontends);
    public Versioned<BackendRecord>* Backends => (Versioned<BackendRecord>*)At(SectionId.Backends);
    public Versioned<NatPoolRecord>* NatPools => (Versioned<NatPoolRecord>*)At(SectionId.NatPools);
    public byte* BackendSets => At(SectionId.BackendSets);
    public ServiceTable ServiceTable => new((ServiceBucket*)At(SectionId.ServiceBuckets), Frontends, MaxFrontends, Header.HashSeed);

    /// <summary>The ports that backends have.</summary>
    public EndpointSet Endpoints => new((EndpointBucket*)At(SectionId.Endpoints), MaxBackends, Header.HashSeed);
    public NeighbourTable Neighbours => new(At(SectionId.Neighbours), (int)Header.NeighbourBucketBits, Header.HashSeed);
    public RouteTable Routes => new(RouteArena);
    public TunnelTable TunnelTable => new((TunnelBucket*)At(SectionId.TunnelBuckets), Tunnels, MaxPorts, Header.HashSeed);
    public PortRuntime* PortRuntime => (PortRuntime*)At(SectionId.PortRuntime);
    public BridgeRuntime* BridgeRuntime => (BridgeRuntime*)At(SectionId.BridgeRuntime);
    public WorkerRecord* Workers => (WorkerRecord*)At(SectionId.Workers);
    public MacTable Macs => new((MacBucket*)At(SectionId.Macs), (int)Header.MacBucketBits, Header.HashSeed);
    /// <summary>The connection table, for one that only reads it: the control plane.</summary>
    public ConnectionTable Connections => ConnectionsOf(MaxWorkers);

    /// <summary>The connection table as a worker changes it; housekeeping's number is <see cref="MaxWorkers"/>.</summary>
    public ConnectionTable ConnectionsOf(int writer)
    {
        int capacity = (int)Header.ConnectionCapacity;
        return new ConnectionTable((ConnectionSlot4*)At(SectionId.Connections4), (ConnectionSlot6*)At(SectionId.Connections6),
            capacity, SegmentOptions.ConnectionCapacity6(capacity), At(SectionId.ConnectionMarks), (ConnectionCounters*)At(SectionId.ConnectionCounters), MaxWorkers + 1, writer, Header.HashSeed);
    }

    /// <summary>By which the control plane asks for the connections of removed backends to be removed.</summary>
    public ConnectionSweep ConnectionSweep => new(At(SectionId.ConnectionSweep), MaxBackends);

    public Quiescence Quiescence => new((ulong*)Unsafe.AsPointer(ref Header.Epoch), Workers, MaxWorkers);

    /// <summary>The counters of a worker, one record per port.</summary>
    public PortCounters* Counters(int worker) => (PortCounters*)At(SectionId.PortCounters) + ((nint)worker * MaxPorts);

    public ref EventRing Events(int worker) => ref ((EventRing*)At(SectionId.Events))[worker];

    /// <summary><see cref="CaptureSession.Limit"/> of them.</summary>
    public CaptureSession* CaptureSessions => (CaptureSession*)At(SectionId.CaptureSessions);

    public CaptureRing* CaptureRing(int worker) => (CaptureRing*)At(SectionId.CaptureRings) + worker;

    /// <summary>The generation that is visible now.</summary>
    public ulong Generation
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => Volatile.Read(ref Header.Generation);
    }

    /// <summary>A port's record as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly PortRecord Port(int index, ulong generation) => ref Versioned<PortRecord>.Read(in Ports[index], generation);

    /// <summary>A bridge's record as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly BridgeRecord Bridge(int index, ulong generation) => ref Versioned<BridgeRecord>.Read(in Bridges[index], generation);

    /// <summary>A port's layer-3 side as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly InterfaceRecord Interface(int port, ulong generation) => ref Versioned<InterfaceRecord>.Read(in Interfaces[port], generation);

    /// <summary>A VRF's record as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly VrfRecord Vrf(int index, ulong generation) => ref Versioned<VrfRecord>.Read(in Vrfs[index], generation);

    /// <summary>A next hop as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly NextHopRecord NextHop(int index, ulong generation) => ref Versioned<NextHopRecord>.Read(in NextHops[index], generation);

    /// <summary>A next-hop group as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly NextHopGroup NextHopGroup(int index, ulong generation) => ref Versioned<NextHopGroup>.Read(in NextHopGroups[index], generation);

    /// <summary>The tunnel behind a port as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly TunnelRecord Tunnel(int port, ulong generation) => ref Versioned<TunnelRecord>.Read(in Tunnels[port], generation);

    /// <summary>A service's port as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly FrontendRecord Frontend(int index, ulong generation) => ref Versioned<FrontendRecord>.Read(in Frontends[index], generation);

    /// <summary>A backend as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly BackendRecord Backend(int index, ulong generation) => ref Versioned<BackendRecord>.Read(in Backends[index], generation);

    /// <summary>A pool of addresses for NAT as a reader of the given generation sees it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ref readonly NatPoolRecord NatPool(int index, ulong generation) => ref Versioned<NatPoolRecord>.Read(in NatPools[index], generation);

    public void Dispose()
    {
        IDisposable? owner = Interlocked.Exchange(ref _owner, null);
        owner?.Dispose();
    }

    /// <summary>Bytes that a segment of these options takes.</summary>
    public static ulong RequiredLength(SegmentOptions options)
    {
        IReadOnlyList<string> problems = options.Problems();
        if (problems.Count > 0)
        {
            throw new SegmentException("segment: " + string.Join("; ", problems));
        }
        ulong length = SegmentHeader.SizeInBytes;
        for (var id = SectionId.Workers; id < SectionId.Count; id++)
        {
            length += SegmentLayout.SectionLength(id, options);
        }
        return length;
    }

    private byte* At(SectionId id) => _base + Header.Sections[(int)id].Offset;

    private void Initialise(SegmentOptions options)
    {
        ref SegmentHeader header = ref Header;
        header.LayoutVersion = SegmentHeader.CurrentLayoutVersion;
        header.HeaderSize = SegmentHeader.SizeInBytes;
        header.LayoutHash = SegmentLayout.Hash;
        header.Length = _length;
        header.MaxWorkers = (uint)options.MaxWorkers;
        header.MaxPorts = (uint)options.MaxPorts;
        header.MaxBridges = (uint)options.MaxBridges;
        header.MacBucketBits = (uint)options.MacBucketBits;
        header.MaxVrfs = (uint)options.MaxVrfs;
        header.MaxNextHops = (uint)options.MaxNextHops;
        header.MaxNextHopGroups = (uint)options.MaxNextHopGroups;
        header.RouteBytes = (ulong)options.RouteBytes;
        header.NeighbourBucketBits = (uint)options.NeighbourBucketBits;
        header.MaxFrontends = (uint)options.MaxFrontends;
        header.MaxBackends = (uint)options.MaxBackends;
        header.MaxNatPools = (uint)options.MaxNatPools;
        header.BackendSetBytes = (ulong)options.BackendSetBytes;
        header.ConnectionCapacity = (uint)options.ConnectionCapacity;
        header.HashSeed = BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8));
        header.CreatedUnixSeconds = (ulong)DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        header.Generation = 1;
        header.Epoch = 1;

        ulong offset = SegmentHeader.SizeInBytes;
        for (var id = SectionId.Workers; id < SectionId.Count; id++)
        {
            ulong length = SegmentLayout.SectionLength(id, options);
            header.Sections[(int)id] = new SectionEntry { Offset = offset, Length = length };
            offset += length;
        }
        Volatile.Write(ref header.Magic, SegmentHeader.MagicValue);
    }

    private static void Check(string path, SharedMemory memory)
    {
        if (memory.Length < SegmentHeader.SizeInBytes)
        {
            throw new SegmentException($"{path} is not a segment: {memory.Length} bytes are too few for its header; {Remedy}");
        }
        ref readonly SegmentHeader header = ref *(SegmentHeader*)memory.Pointer;
        if (header.Magic != SegmentHeader.MagicValue)
        {
            throw new SegmentException($"{path} is not a segment, or was never finished (no magic number); {Remedy}");
        }
        if (header.LayoutVersion != SegmentHeader.CurrentLayoutVersion || header.LayoutHash != SegmentLayout.Hash)
        {
            throw new SegmentException(
                $"{path} has layout {header.LayoutVersion}/{header.LayoutHash:x16}, this program has "
                + $"{SegmentHeader.CurrentLayoutVersion}/{SegmentLayout.Hash:x16}: it was made by another version; {Remedy}");
        }
        // The file may be longer: hugetlbfs has whole huge pages only.
        if (header.Length > memory.Length)
        {
            throw new SegmentException($"{path} is damaged: its header says {header.Length} bytes, it has {memory.Length}; {Remedy}");
        }
        // Epoch 0 means "asleep" to whoever waits for a worker, and generation 0 and the last one mark records unwritten or half written.
        if (header.HeaderSize != SegmentHeader.SizeInBytes || !SectionsLieInside(in header)
            || header.Epoch == Quiescence.OfflineEpoch || header.Generation is 0 or ulong.MaxValue)
        {
            throw new SegmentException($"{path} is damaged: the fields of its header contradict each other; {Remedy}");
        }
    }

    private static bool SectionsLieInside(ref readonly SegmentHeader header)
    {
        if (header.MaxWorkers is 0 or > SegmentOptions.WorkerLimit || header.MaxPorts is < 2 or > SegmentOptions.PortLimit
            || header.MaxBridges is < 2 or > SegmentOptions.BridgeLimit || header.MacBucketBits is < MacTable.MinBits or > SegmentOptions.MacBucketBitsLimit
            || header.MaxVrfs is < 2 or > SegmentOptions.VrfLimit || header.MaxNextHops is < 2 or > SegmentOptions.NextHopLimit
            || header.MaxNextHopGroups is 0 or > SegmentOptions.NextHopGroupLimit || header.RouteBytes > SegmentOptions.RouteBytesLimit
            || header.NeighbourBucketBits is < NeighbourTable.MinBits or > SegmentOptions.NeighbourBucketBitsLimit
            || header.MaxFrontends is < 2 or > SegmentOptions.FrontendLimit || header.MaxBackends is < 2 or > SegmentOptions.BackendLimit
            || header.MaxNatPools is < 2 or > SegmentOptions.NatPoolLimit || header.BackendSetBytes > SegmentOptions.BackendSetBytesLimit
            || header.ConnectionCapacity is < 1024 or > SegmentOptions.ConnectionLimit)
        {
            return false;
        }
        var options = new SegmentOptions
        {
            MaxWorkers = (int)header.MaxWorkers,
            MaxPorts = (int)header.MaxPorts,
            MaxBridges = (int)header.MaxBridges,
            MacCapacity = (int)(MacBucket.Ways * (1u << (int)header.MacBucketBits) / 2),
            MaxVrfs = (int)header.MaxVrfs,
            MaxNextHops = (int)header.MaxNextHops,
            MaxNextHopGroups = (int)header.MaxNextHopGroups,
            RouteBytes = (long)header.RouteBytes,
            NeighbourCapacity = (int)(NeighbourBucket.Ways * (1u << (int)header.NeighbourBucketBits) / 2),
            MaxFrontends = (int)header.MaxFrontends,
            MaxBackends = (int)header.MaxBackends,
            MaxNatPools = (int)header.MaxNatPools,
            BackendSetBytes = (long)header.BackendSetBytes,
            ConnectionCapacity = (int)header.ConnectionCapacity,
        };
        ulong expected = SegmentHeader.SizeInBytes;
        for (var id = SectionId.Workers; id < SectionId.Count; id++)
        {
            ref readonly SectionEntry entry = ref header.Sections[(int)id];
            ulong length = SegmentLayout.SectionLength(id, options);
            if (entry.Offset != expected || entry.Length != length)
            {
                return false;
            }
            expected += length;
        }
        return expected == header.Length;
    }
}
