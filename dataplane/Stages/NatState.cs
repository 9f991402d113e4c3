using System.Security.Cryptography;
using Dataplane.Tables;

namespace Dataplane.Stages;

/// <summary>What a worker's address translation keeps between packets.</summary>
public sealed class NatState
{
    private readonly ulong _secret;
    private ulong _count;

    public NatState()
        : this(BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)), BitConverter.ToUInt64(RandomNumberGenerator.GetBytes(8)))
    {
    }

    /// <summary>One whose numbers are known.</summary>
    public NatState(ulong secret, ulong count) => (_secret, _count) = (secret | 1, count);

    /// <summary>Fragments that wait for the first one of their datagram.</summary>
    public HeldFragments Fragments { get; } = new();

    /// <summary>
    /// A number below a bound, where the search for a port begins: hard to guess from outside, so that it is hard to send into a
    /// connection of somebody else (RFC 6056).
    /// </summary>
    public uint Next(uint bound) => (uint)((KeyHash.Mix(++_count, _secret) >> 32) * bound >> 32);
}
