using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane publish …</c></summary>
internal static class PublishCommands
{
    public static Command Build() => new Command("publish", "Published ports: ports of the node that lead to containers; all of them without a command")
    {
        BuildList(), BuildAdd(), BuildDelete(), Options.Output,
    }
    .Calls(ListAsync)
    .WithExamples(
        "dataplane publish add shop --to web 8080:80",
        "dataplane publish",
        "dataplane publish delete shop");

    private static Command BuildList() => new Command("list", "List published ports, and where they lead") { Options.Output }
        .Calls(ListAsync)
        .WithExamples("dataplane publish list -o wide");

    private static Command BuildAdd()
    {
        Argument<string> name = Options.Name("Name of the new published port");
        var port = new Argument<string>("PORT") { Description = $"{PortWords.PublishedSyntax}, as docker's -p; without HOST-PORT a free one is chosen" };
        var to = new Option<string>("--to") { Description = "The container: the name of its port, or its address", HelpName = "PORT|ADDRESS", Required = true };
        to.CompletesNames(Kind.Port);
        var vrf = new Option<string>("--vrf") { Description = "VRF of the node's address (default: main)", HelpName = "VRF" };
        return new Command("add", "Publish a port of a container at the node") { name, port, to, vrf, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                PublishedPort published = PortWords.PublishedPort(parsed.GetRequiredValue(port));
                string container = parsed.GetRequiredValue(to);
                published.Name = parsed.GetRequiredValue(name);
                published.Vrf = parsed.GetValue(vrf) ?? "";
                if (Cidr.TryParseAddress(container, out _))
                {
                    published.Address = container;
                }
                else
                {
                    published.Port = container;
                }
                return ResourceOutput.CreateAsync(client, ResourceKeys.Of(published), parsed, cancel);
            })
            .WithExamples(
                "dataplane publish add shop --to web 8080:80",
                "dataplane publish add dns --to 172.18.0.53 192.0.2.10:53:53/udp",
                "dataplane publish add any --to web 80                                     a free port of the node, which the answer names");
    }

    private static Command BuildDelete()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of published ports", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.PublishedPort);
        return new Command("delete", "Delete published ports") { names, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.DeleteAsync(client, Kind.PublishedPort, parsed.GetRequiredValue(names), parsed, cancel))
            .WithExamples("dataplane publish delete shop");
    }

    private static async Task ListAsync(ParseResult parsed, Client client, CancellationToken cancel) =>
        ResourceOutput.List(Kind.PublishedPort, await client.ListAsync(Kind.PublishedPort, null, cancel), parsed.GetValue(Options.Output));
}
