using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane neigh …</c>: neighbours in the words of ip-neighbour(8).</summary>
internal static class NeighbourCommands
{
    public static Command Build()
    {
        var command = new Command("neigh", "Neighbours, as ip-neighbour(8) has them; all without a command")
        {
            BuildList(), BuildAdd("add", "Make a neighbour known"), BuildAdd("replace", "Make a neighbour known, or change its MAC address"), BuildDelete(), Options.Output,
        };
        command.Aliases.Add("neighbour");
        return command
            .Calls((parsed, client, cancel) => ListAsync(client, new ListNeighboursRequest(), _ => true, parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane neigh", "dataplane neigh add 172.18.0.9 lladdr 02:42:ac:12:00:09 dev blue");
    }

    private static Command BuildList()
    {
        var words = new Argument<string[]>("WORDS") { Description = "[ ADDRESS ] [ dev NETWORK|PORT ] [ nud STATE ]", Arity = ArgumentArity.ZeroOrMore };
        return new Command("list", "List neighbours, permanent and learned, as ip-neighbour(8) prints them") { words, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                Words read = Words.Parse(parsed.GetValue(words) ?? []);
                var request = new ListNeighboursRequest { Address = read.Address };
                if (read.Dev.Length > 0)
                {
                    (Kind kind, string name) = await LinkNames.FindAsync(client, read.Dev, cancel);
                    (request.Network, request.Port) = kind == Kind.Network ? (name, "") : ("", name);
                }
                await ListAsync(client, request, n => read.State.Length == 0 || string.Equals(n.State.ToString(), read.State, StringComparison.OrdinalIgnoreCase), parsed.GetValue(Options.Output), cancel);
            })
            .WithExamples("dataplane neigh list", "dataplane neigh list dev blue nud reachable", "dataplane neigh list 172.18.0.2 -o json");
    }

    private static Command BuildAdd(string name, string description)
    {
        var words = new Argument<string[]>("WORDS") { Description = "ADDRESS lladdr MAC dev NETWORK|PORT", Arity = ArgumentArity.OneOrMore };
        return new Command(name, description) { words, Options.DryRun, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                Words read = Words.Parse(parsed.GetRequiredValue(words));
                Neighbour neighbour = await OnLinkAsync(client, read, cancel);
                neighbour.Mac = read.Mac;
                await (name == "add" ? ResourceOutput.CreateAsync(client, ResourceKeys.Of(neighbour), parsed, cancel) : ResourceOutput.ReplaceAsync(client, ResourceKeys.Of(neighbour), parsed, cancel));
            })
            .WithExamples($"dataplane neigh {name} 172.18.0.9 lladdr 02:42:ac:12:00:09 dev blue", $"dataplane neigh {name} fd00::9 lladdr 02:42:ac:12:00:09 dev uplink");
    }

    private static Command BuildDelete()
    {
        var words = new Argument<string[]>("WORDS") { Description = "ADDRESS dev NETWORK|PORT", Arity = ArgumentArity.OneOrMore };
        return new Command("delete", "Delete a neighbour that was made known") { words, Options.DryRun, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                Neighbour neighbour = await OnLinkAsync(client, Words.Parse(parsed.GetRequiredValue(words)), cancel);
                await ResourceOutput.DeleteAsync(client, Kind.Neighbour, [ResourceKeys.Of(neighbour).KeyName], parsed, cancel);
            })
            .WithExamples("dataplane neigh delete 172.18.0.9 dev blue");
    }

    private static async Task<Neighbour> OnLinkAsync(Client client, Words words, CancellationToken cancel)
    {
        if (words.Address.Length == 0 || words.Dev.Length == 0)
        {
            throw new CommandException(ExitCode.Usage, "which neighbour? Give ADDRESS dev NETWORK|PORT");
        }
        (Kind kind, string name) = await LinkNames.FindAsync(client, words.Dev, cancel);
        return kind == Kind.Network ? new Neighbour { Network = name, Address = words.Address } : new Neighbour { Port = name, Address = words.Address };
    }

    private static async Task ListAsync(Client client, ListNeighboursRequest request, Func<NeighbourEntry, bool> matches, OutputFormat format, CancellationToken cancel)
    {
        var all = new NeighbourList();
        using AsyncServerStreamingCall<NeighbourEntry> call = client.Stats.ListNeighbours(request, cancellationToken: cancel);
        await foreach (NeighbourEntry neighbour in call.ResponseStream.ReadAllAsync(cancel))
        {
            if (matches(neighbour))
            {
                all.Neighbours.Add(neighbour);
            }
        }
        if (format == OutputFormat.Wide)
        {
            Output.Table(
                ["INTERFACE", "ADDRESS", "MAC", "STATE", "ROUTER", ">CONFIRMED"],
                all.Neighbours.Select(n => new[]
                {
                    n.Interface, n.Address, n.Mac.Length > 0 ? n.Mac : "-", Output.Word(n.State), n.Router ? "yes" : "no", n.ConfirmedSeconds == 0 ? "-" : $"{n.ConfirmedSeconds} s",
                }));
        }
        else if (!Output.TryPrint(format, all))
        {
            foreach (NeighbourEntry neighbour in all.Neighbours)
            {
                Output.Line(NeighbourText.Line(neighbour));
            }
        }
    }

    /// <summary>The words of ip-neighbour(8).</summary>
    private sealed record Words(string Address, string Dev, string Mac, string State)
    {
        public static Words Parse(string[] words)
        {
            var read = new Words("", "", "", "");
            for (int i = 0; i < words.Length; i++)
            {
                read = words[i] switch
                {
                    "dev" => read with { Dev = Next(ref i) },
                    "lladdr" => read with { Mac = Next(ref i) },
                    "nud" => read with { State = Next(ref i) },
                    "to" => read with { Address = Next(ref i) },
                    _ when read.Address.Length == 0 => read with { Address = words[i] },
                    _ => throw new CommandException(ExitCode.Usage, $"\"{words[i]}\" is not understood; the words are: ADDRESS lladdr MAC dev NAME nud STATE"),
                };
            }
            return read;

            string Next(ref int i) => ++i < words.Length ? words[i] : throw new CommandException(ExitCode.Usage, $"something is missing behind \"{words[i - 1]}\"");
        }
    }
}
