using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane route …</c>: routes in the words of ip-route(8), for eyes and scripts that know it.</summary>
internal static class RouteCommands
{
    private static readonly Option<bool> Local = new("--local") { Description = "Also the switch's own addresses, and those to which nothing is forwarded" };

    public static Command Build() => new Command("route", "Routes, as ip-route(8) has them; all of VRF main without a command")
    {
        BuildList(), BuildAdd("add", "Add a route"), BuildAdd("replace", "Add a route, or change the one to the same prefix"), BuildDelete(), BuildGet(), Options.Output,
    }
    .Calls((parsed, client, cancel) => ListAsync(client, ResourceKeys.MainVrf, _ => true, local: false, parsed.GetValue(Options.Output), cancel))
    .WithExamples(
        "dataplane route",
        "dataplane route add default via 192.0.2.1",
        "dataplane route get 10.1.2.3");

    private static Command BuildList()
    {
        var words = new Argument<string[]>("WORDS") { Description = "[ vrf VRF|all ] [ dev NETWORK|PORT|PEER ]", Arity = ArgumentArity.ZeroOrMore };
        return new Command("list", "List routes as ip-route(8) prints them") { words, Local, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                string vrf = ResourceKeys.MainVrf, dev = "";
                string[] given = parsed.GetValue(words) ?? [];
                for (int i = 0; i < given.Length; i += 2)
                {
                    string value = i + 1 < given.Length ? given[i + 1] : throw new CommandException(ExitCode.Usage, $"a name is missing behind \"{given[i]}\"");
                    _ = given[i] switch
                    {
                        "vrf" => vrf = value == "all" ? "" : value,
                        "dev" => dev = value,
                        _ => throw new CommandException(ExitCode.Usage, $"\"{given[i]}\" is not understood; the words are: vrf VRF dev NAME"),
                    };
                }
                bool Matches(TableRoute route) => dev.Length == 0 || route.NextHops.Any(h => h.Port == dev || LinkNames.Dev(h.Port, h.Network) == dev);
                return ListAsync(client, vrf, Matches, parsed.GetValue(Local), parsed.GetValue(Options.Output), cancel);
            })
            .WithExamples("dataplane route list", "dataplane route list vrf guests --local", "dataplane route list vrf all dev uplink -o json");
    }

    private static Command BuildAdd(string name, string description)
    {
        var words = new Argument<string[]>("WORDS") { Description = RouteWords.Syntax, Arity = ArgumentArity.OneOrMore };
        return new Command(name, description) { words, Options.DryRun, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                RouteWords read = RouteWords.Parse(parsed.GetRequiredValue(words));
                for (int i = 0; i < read.Devs.Count; i++)
                {
                    if (read.Devs[i].Length > 0)
                    {
                        SetLink(read.Route.NextHops[i], await LinkNames.FindAsync(client, read.Devs[i], cancel));
                    }
                }
                Resource resource = ResourceKeys.Of(read.Route);
                await (name == "add" ? ResourceOutput.CreateAsync(client, resource, parsed, cancel) : ResourceOutput.ReplaceAsync(client, resource, parsed, cancel));
            })
            .WithExamples(
                $"dataplane route {name} default via 192.0.2.1",
                $"dataplane route {name} 10.2.0.0/16 via 198.51.100.1 dev uplink           the router is on that link, whatever the subnets",
                $"dataplane route {name} 10.3.0.0/16 nexthop via 192.0.2.1 weight 2 nexthop via 192.0.2.2",
                $"dataplane route {name} 10.244.2.0/24 dev node2                           to a tunnel peer",
                $"dataplane route {name} blackhole 10.0.0.0/8 vrf guests");
    }

    private static Command BuildDelete()
    {
        var words = new Argument<string[]>("WORDS") { Description = "PREFIX [ vrf VRF ]", Arity = ArgumentArity.OneOrMore };
        return new Command("delete", "Delete a route") { words, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                Route route = RouteWords.Parse(parsed.GetRequiredValue(words)).Route;
                return ResourceOutput.DeleteAsync(client, Kind.Route, [ResourceKeys.Of(route).KeyName], parsed, cancel);
            })
            .WithExamples("dataplane route delete 10.2.0.0/16", "dataplane route delete default vrf guests", "dataplane route delete ::/0");
    }

    private static Command BuildGet()
    {
        var address = new Argument<string>("ADDRESS") { Description = "Where to" };
        var words = new Argument<string[]>("WORDS") { Description = "[ vrf VRF ]", Arity = ArgumentArity.ZeroOrMore };
        return new Command("get", "Where packets to an address go, by the engine's tables") { address, words, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                string vrf = (parsed.GetValue(words) ?? []) switch
                {
                    [] => "",
                    ["vrf", var name] => name,
                    _ => throw new CommandException(ExitCode.Usage, "the words are: vrf VRF"),
                };
                var request = new LookupRouteRequest { Address = parsed.GetRequiredValue(address), Vrf = vrf };
                RouteLookup found = await client.Stats.LookupRouteAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
                if (!Output.TryPrint(parsed.GetValue(Options.Output), found))
                {
                    Output.Line(RouteText.Line(found));
                }
            })
            .WithExamples("dataplane route get 10.1.2.3", "dataplane route get 2001:db8::7 vrf guests -o json");
    }

    private static async Task ListAsync(Client client, string vrf, Func<TableRoute, bool> matches, bool local, OutputFormat format, CancellationToken cancel)
    {
        var all = new TableRouteList();
        using AsyncServerStreamingCall<TableRoute> call = client.Stats.ListRoutes(new ListRoutesRequest { Vrf = vrf, Local = local }, cancellationToken: cancel);
        await foreach (TableRoute route in call.ResponseStream.ReadAllAsync(cancel))
        {
            if (!matches(route))
            {
                continue;
            }
            if (format == OutputFormat.Table)
            {
                Output.Line(RouteText.Line(route));
            }
            else
            {
                all.Routes.Add(route);
            }
        }
        if (format == OutputFormat.Wide)
        {
            Output.Table(
                ["VRF", "PREFIX", "TYPE", "ORIGIN", "NEXT HOPS", "UP", "SOURCE"],
                all.Routes.Select(r => new[]
                {
                    r.Vrf, r.Prefix, Output.Word(r.Type), Output.Word(r.Origin), r.NextHops.Count == 0 ? "-" : string.Join(", ", r.NextHops.Select(Hop)),
                    r.NextHops.Count == 0 ? "-" : r.NextHops.Any(h => h.Up) ? "yes" : "no", r.Source.Length > 0 ? r.Source : "-",
                }));
        }
        else if (format != OutputFormat.Table)
        {
            Output.TryPrint(format, all);
        }
    }

    private static string Hop(ResolvedNextHop hop) =>
        $"{(hop.Via.Length > 0 ? $"via {hop.Via} " : "")}dev {LinkNames.Dev(hop.Port, hop.Network)}{(hop.Weight > 1 ? $" weight {hop.Weight}" : "")}";

    private static void SetLink(NextHop hop, (Kind Kind, string Name) link)
    {
        switch (link.Kind)
        {
            case Kind.Network: hop.Network = link.Name; break;
            case Kind.Port: hop.Port = link.Name; break;
            default: hop.Peer = link.Name; break;
        }
    }
}
