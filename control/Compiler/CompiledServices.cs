using Dataplane.Memory;
using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

/// <summary>What tells a port of a backend from others. A record has all of it, so the segment is its register.</summary>
/// <param name="Service">Number of the service, or of the published port.</param>
/// <param name="Protocol">In the IP header.</param>
/// <param name="IsIPv6">Its family.</param>
/// <param name="Address">An IPv4 address is in Low.</param>
/// <param name="Port">Where it serves.</param>
public readonly record struct BackendKey(uint Service, byte Protocol, bool IsIPv6, IPv6Number Address, ushort Port)
{
    public static BackendKey Of(in BackendRecord record) => new(record.Service, record.Protocol, record.Has(BackendFlags.IPv6), record.Address, record.Port);

    /// <summary>Says the same of the same backend on every node (<see cref="BackendMember.Identity"/>): FNV-1a over address, protocol and port.</summary>
    public ulong Identity
    {
        get
        {
            ulong hash = 0xcbf2_9ce4_8422_2325;
            Add(Address.High);
            Add(Address.Low);
            Add(((ulong)Protocol << 16) | Port);
            return hash;

            void Add(ulong value)
            {
                for (int i = 0; i < sizeof(ulong); i++, value >>= 8)
                {
                    hash = (hash ^ (byte)value) * 0x100_0000_01b3;
                }
            }
        }
    }
}

/// <summary>A port of a backend.</summary>
/// <param name="Key">What tells it from others.</param>
/// <param name="Weight">Its share of new connections.</param>
/// <param name="IsDraining">It gets none, unless there is nobody else.</param>
/// <param name="IsLocal">It is on this node.</param>
public readonly record struct CompiledBackend(BackendKey Key, ushort Weight, bool IsDraining, bool IsLocal);

/// <summary>Backends among which connections are distributed.</summary>
/// <param name="Members">In an order that is the same on every node; at least one has a weight.</param>
/// <param name="Maglev">Whether by a Maglev table.</param>
public sealed record CompiledSet(IReadOnlyList<CompiledBackend> Members, bool Maglev);

/// <summary>A port at which a service is reached.</summary>
/// <param name="Record">As it is in the segment, except for the set.</param>
/// <param name="Set">Of <see cref="CompiledService.Sets"/>; -1 for none.</param>
public readonly record struct CompiledFrontend(FrontendRecord Record, int Set);

/// <summary>A service or a published port in the form of the segment's tables.</summary>
/// <param name="Frontends">Where it is reached; their keys differ.</param>
/// <param name="Sets">Sets of backends that frontends lead to.</param>
/// <param name="Backends">All backends, also those that are in no set.</param>
public sealed record CompiledService(IReadOnlyList<CompiledFrontend> Frontends, IReadOnlyList<CompiledSet> Sets, IReadOnlyList<CompiledBackend> Backends);

/// <summary>A backend that is gone.</summary>
/// <param name="Key">What told it from others.</param>
/// <param name="Reset">Its TCP and SCTP connections are reset, and do not go on until they end.</param>
public readonly record struct RemovedBackend(BackendKey Key, bool Reset);

/// <summary>What a change makes of services: as many as it names, however many there are.</summary>
/// <param name="Set">Services that are new or other than before, perhaps.</param>
/// <param name="Addresses">The same of addresses of services.</param>
/// <param name="RemovedFrontends">Keys of frontends that are gone, those of addresses among them.</param>
/// <param name="RemovedBackends">Backends that are gone.</param>
public sealed record CompiledServices(
    IReadOnlyList<CompiledService> Set, IReadOnlyList<FrontendRecord> Addresses, IReadOnlyList<FrontendKey> RemovedFrontends, IReadOnlyList<RemovedBackend> RemovedBackends)
{
    public static CompiledServices None { get; } = new([], [], [], []);

    public bool IsNone => Set.Count + Addresses.Count + RemovedFrontends.Count + RemovedBackends.Count == 0;
}
