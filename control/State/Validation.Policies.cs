using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private const uint MaxPacketRate = 100_000_000, MaxByteBurst = 2_000_000_000;
    private const ulong MinBitRate = 8_000, MaxBitRate = 1_000_000_000_000;

    private static void CheckPolicy(Policy policy, ProblemCollector problems)
    {
        CheckName(Kind.Policy, policy.Name, problems);
        if (policy.RateLimit is { } limit)
        {
            CheckRateLimit(limit, (field, message, fix) => problems.Add(Kind.Policy, policy.Name, field, message, fix));
        }
    }

    private static void CheckRateLimit(RateLimit limit, Report report)
    {
        if (limit is { PacketsPerSecond: 0, BitsPerSecond: 0 })
        {
            report("rate_limit", "limits nothing", "give packets_per_second or bits_per_second, or leave rate_limit out");
            return;
        }
        if (limit.PacketsPerSecond > MaxPacketRate)
        {
            report("rate_limit.packets_per_second", $"{limit.PacketsPerSecond} is above {MaxPacketRate}", "leave it out for no limit");
        }
        if (limit.PacketBurst > MaxPacketRate)
        {
            report("rate_limit.packet_burst", $"{limit.PacketBurst} is above {MaxPacketRate}");
        }
        if (limit.BitsPerSecond is not 0 and (< MinBitRate or > MaxBitRate))
        {
            report("rate_limit.bits_per_second", $"{limit.BitsPerSecond} is not from {MinBitRate} to {MaxBitRate}", "leave it out for no limit");
        }
        if (limit.ByteBurst > MaxByteBurst)
        {
            report("rate_limit.byte_burst", $"{limit.ByteBurst} is above {MaxByteBurst}");
        }
        if (limit is { PacketBurst: > 0, PacketsPerSecond: 0 })
        {
            report("rate_limit.packet_burst", "packets are not limited", "give packets_per_second");
        }
        if (limit is { ByteBurst: > 0, BitsPerSecond: 0 })
        {
            report("rate_limit.byte_burst", "bits are not limited", "give bits_per_second");
        }
    }

    private static void CheckPolicyOf(DesiredState state, Port port, Report report)
    {
        if (port.Policy.Length > 0 && !state.Policies.ContainsKey(port.Policy))
        {
            report("policy", $"policy \"{port.Policy}\" does not exist", "policies: " + ListNames(state.Policies.Keys));
        }
    }
}
