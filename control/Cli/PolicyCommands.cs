using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane policy …</c></summary>
internal static class PolicyCommands
{
    public static Command Build() => new Command("policy", "Policies: what ports may send, and to whom")
    {
        BuildList(), BuildGet(), BuildAdd(), BuildDelete(),
    }.WithExamples(
        "dataplane policy add tenant --bps 100M --pps 20000 --isolated",
        "dataplane port add web --network blue --netns web --policy tenant",
        "dataplane policy list");

    private static Command BuildList() => new Command("list", "List policies, and how many ports have them") { Options.Network, Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            var filter = new Filter { Network = parsed.GetValue(Options.Network) ?? "" };
            ResourceOutput.List(Kind.Policy, await client.ListAsync(Kind.Policy, filter, cancel), parsed.GetValue(Options.Output));
        })
        .WithExamples("dataplane policy list", "dataplane policy list --network blue -o json");

    private static Command BuildGet()
    {
        Argument<string> name = Options.Name("Name of the policy", Kind.Policy);
        return new Command("get", "Show one policy") { name, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.GetAsync(client, Kind.Policy, parsed.GetRequiredValue(name), parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane policy get tenant -o yaml");
    }

    private static Command BuildAdd()
    {
        Argument<string> name = Options.Name("Name of the new policy");
        Option<ulong?> pps = Number("--pps", "Packets per second that each port may send"), packetBurst = Number("--packet-burst", "Packets that may come at once (default: those of 100 ms)");
        Option<ulong?> bps = Number("--bps", "Bits per second that each port may send"), byteBurst = Number("--byte-burst", "Bytes that may come at once (default: those of 100 ms)");
        var isolated = new Option<bool>("--isolated") { Description = "Ports exchange packets only with ports that are not isolated" };
        return new Command("add", "Add a policy for ports to name") { name, pps, packetBurst, bps, byteBurst, isolated, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                var policy = new Policy { Name = parsed.GetRequiredValue(name), Isolated = parsed.GetValue(isolated) };
                if (new[] { pps, packetBurst, bps, byteBurst }.Any(o => parsed.GetValue(o) is not null))
                {
                    policy.RateLimit = new RateLimit
                    {
                        PacketsPerSecond = Small(parsed.GetValue(pps)),
                        PacketBurst = Small(parsed.GetValue(packetBurst)),
                        BitsPerSecond = parsed.GetValue(bps) ?? 0,
                        ByteBurst = Small(parsed.GetValue(byteBurst)),
                    };
                }
                return ResourceOutput.CreateAsync(client, ResourceKeys.Of(policy), parsed, cancel);
            })
            .WithExamples(
                "dataplane policy add tenant --bps 100M --pps 20000 --isolated",
                "dataplane policy add slow --bps 512k --byte-burst 10k");
    }

    private static Command BuildDelete()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of policies", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.Policy);
        return new Command("delete", "Delete policies that no port has any more") { names, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.DeleteAsync(client, Kind.Policy, parsed.GetRequiredValue(names), parsed, cancel))
            .WithExamples("dataplane policy delete tenant");
    }

    /// <summary>What does not fit is said by the switch to be too large.</summary>
    private static uint Small(ulong? number) => (uint)Math.Min(number ?? 0, uint.MaxValue);

    private static Option<ulong?> Number(string name, string description) => new(name)
    {
        Description = description,
        HelpName = "N[k|M|G]",
        CustomParser = result =>
        {
            string text = result.Tokens[0].Value;
            ulong factor = text.LastOrDefault() switch { 'k' => 1_000, 'M' => 1_000_000, 'G' => 1_000_000_000, _ => 1 };
            if (ulong.TryParse(factor == 1 ? text : text[..^1], NumberStyles.None, CultureInfo.InvariantCulture, out ulong number) && number <= ulong.MaxValue / factor)
            {
                return number * factor;
            }
            result.AddError($"{name} {text}: not a number, with or without k, M or G behind it");
            return null;
        },
    };
}
