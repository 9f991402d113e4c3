using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane backend …</c></summary>
internal static class BackendCommands
{
    private static readonly Argument<string> Service = new Argument<string>("SERVICE") { Description = "Name of the service" }.CompletesNames(Kind.Service);

    public static Command Build() => new Command("backend", "Backends: the servers behind services") { BuildList(), BuildAdd(), BuildDrain(), BuildDelete() }
        .WithExamples(
            "dataplane backend add shop 172.18.0.2 172.18.0.3",
            "dataplane backend drain shop/172.18.0.2",
            "dataplane backend list shop");

    private static Command BuildList()
    {
        var service = new Argument<string?>("SERVICE") { Description = "Only those of this service", Arity = ArgumentArity.ZeroOrOne }.CompletesNames(Kind.Service);
        return new Command("list", "List backends") { service, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var filter = new Filter { Service = parsed.GetValue(service) ?? "" };
                ResourceOutput.List(Kind.Backend, await client.ListAsync(Kind.Backend, filter, cancel), parsed.GetValue(Options.Output));
            })
            .WithExamples("dataplane backend list shop", "dataplane backend list -o json");
    }

    private static Command BuildAdd()
    {
        var addresses = new Argument<string[]>("ADDRESS") { Description = "Addresses of servers", Arity = ArgumentArity.OneOrMore };
        var weight = new Option<uint?>("--weight") { Description = "Share of new connections, in proportion to the others' (default: 1)", HelpName = "N" };
        var node = new Option<string>("--node") { Description = "The node they are on, for the traffic policy LOCAL", HelpName = "NODE" };
        return new Command("add", "Add backends to a service") { Service, addresses, weight, node, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.CreateAsync(
                client,
                parsed.GetRequiredValue(addresses).Select(address =>
                {
                    var backend = new Backend { Service = parsed.GetRequiredValue(Service), Address = address, Node = parsed.GetValue(node) ?? "" };
                    if (parsed.GetValue(weight) is { } given)
                    {
                        backend.Weight = given;
                    }
                    return ResourceKeys.Of(backend);
                }),
                parsed,
                cancel))
            .WithExamples("dataplane backend add shop 172.18.0.2 172.18.0.3", "dataplane backend add shop 10.244.1.7 --weight 3 --node node1");
    }

    private static Command BuildDrain()
    {
        Argument<string[]> names = Names();
        var undo = new Option<bool>("--undo") { Description = "Let them take new connections again" };
        return new Command("drain", "Let backends keep their connections, and take no new ones") { names, undo, Options.DryRun, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var resources = new List<Resource>();
                foreach (string name in parsed.GetRequiredValue(names))
                {
                    Resource found = await client.Resources.GetAsync(new GetRequest { Kind = Kind.Backend, Name = name }, deadline: Client.Deadline, cancellationToken: cancel);
                    found.Backend.State = parsed.GetValue(undo) ? Backend.Types.State.Ready : Backend.Types.State.Draining;
                    resources.Add(found);
                }
                await ResourceOutput.ReplaceAsync(client, resources, parsed, cancel);
            })
            .WithExamples("dataplane backend drain shop/172.18.0.2", "dataplane backend drain shop/172.18.0.2 --undo");
    }

    private static Command BuildDelete()
    {
        Argument<string[]> names = Names();
        return new Command("delete", "Delete backends") { names, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.DeleteAsync(client, Kind.Backend, parsed.GetRequiredValue(names), parsed, cancel))
            .WithExamples("dataplane backend delete shop/172.18.0.2");
    }

    private static Argument<string[]> Names() =>
        new Argument<string[]>("NAME") { Description = "Names of backends, as in shop/172.18.0.2", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.Backend);
}
