using System.Globalization;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Cli;

/// <summary>
/// A route in the words of ip-route(8): <c>[ TYPE ] PREFIX [ via ADDRESS ] [ dev NAME ] [ weight N ] [ nexthop … ]… [ vrf VRF ]</c>.
/// What a <c>dev</c> means is found out later (<see cref="LinkNames"/>); it stands in <see cref="Devs"/>, by next hop.
/// </summary>
internal sealed record RouteWords(Route Route, IReadOnlyList<string> Devs)
{
    public const string Syntax = "[ blackhole | unreachable | prohibit | services ] PREFIX [ via ADDRESS ] [ dev NETWORK|PORT|PEER ] [ weight N ] [ nexthop via … ]... [ vrf VRF ]";

    /// <exception cref="CommandException">The words are not understood.</exception>
    public static RouteWords Parse(IReadOnlyList<string> words)
    {
        var route = new Route();
        var devs = new List<string>();
        int at = 0;
        if (at < words.Count && TypeOf(words[at]) is { } type)
        {
            route.Type = type;
            at++;
        }
        string prefix = at < words.Count ? words[at++] : throw Usage($"a prefix is missing; the words are: {Syntax}");
        NextHop? hop = null;
        for (; at < words.Count; at++)
        {
            string word = words[at];
            switch (word)
            {
                case "via":
                    // "via inet6 ADDRESS" names the family, which the address says by itself.
                    string via = Next();
                    Hop().Via = via is "inet" or "inet6" ? Next() : via;
                    break;
                case "dev":
                    string dev = Next();
                    Hop();
                    devs[^1] = dev;
                    break;
                case "weight":
                    string weight = Next();
                    Hop().Weight = uint.TryParse(weight, NumberStyles.None, CultureInfo.InvariantCulture, out uint n) ? n : throw Usage($"\"{weight}\" is no weight");
                    break;
                case "nexthop":
                    hop = null;
                    Hop();
                    break;
                case "vrf":
                    route.Vrf = Next();
                    break;
                case "onlink":
                    break; // what `dev` means here anyway
                default:
                    throw Usage($"\"{word}\" is not understood; the words are: {Syntax}");
            }

            string Next() => ++at < words.Count ? words[at] : throw Usage($"something is missing behind \"{word}\"");
        }
        route.Prefix = Prefix(prefix, route);
        return new RouteWords(route, devs);

        NextHop Hop()
        {
            if (hop is null)
            {
                route.NextHops.Add(hop = new NextHop());
                devs.Add("");
            }
            return hop;
        }
    }

    /// <summary>A prefix as people write it: "default", "192.0.2.1" for "192.0.2.1/32".</summary>
    public static string Prefix(string text, Route route)
    {
        bool ipv6 = text.Contains(':', StringComparison.Ordinal) || route.NextHops.Any(h => h.Via.Contains(':', StringComparison.Ordinal));
        return text is "default" or "any" or "all" ? ipv6 ? "::/0" : "0.0.0.0/0"
            : text.Contains('/', StringComparison.Ordinal) ? text
            : text + (ipv6 ? "/128" : "/32");
    }

    private static Route.Types.Type? TypeOf(string word) => word switch
    {
        "unicast" => Route.Types.Type.Unicast,
        "blackhole" => Route.Types.Type.Blackhole,
        "unreachable" => Route.Types.Type.Unreachable,
        "services" => Route.Types.Type.Services,
        "prohibit" or "prohibited" => Route.Types.Type.Prohibited,
        _ => null,
    };

    private static CommandException Usage(string message) => new(ExitCode.Usage, message);
}
