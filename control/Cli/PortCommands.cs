using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane port …</c></summary>
internal static class PortCommands
{
    public static Command Build() => new Command("port", "Ports of networks, and the devices behind them")
    {
        BuildList(), BuildGet(), PortAddCommand.Build(), BuildDelete(), BuildEnable(), BuildDisable(),
    }.WithExamples(
        "dataplane port add web --network blue --netns web --address 172.18.0.2/16 --default-route",
        "dataplane port list --network blue",
        "dataplane port delete web");

    private static Command BuildList() => new Command("list", "List ports and their state") { Options.Network, Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            var filter = new Filter { Network = parsed.GetValue(Options.Network) ?? "" };
            ResourceOutput.List(Kind.Port, await client.ListAsync(Kind.Port, filter, cancel), parsed.GetValue(Options.Output));
        })
        .WithExamples("dataplane port list", "dataplane port list --network blue -o json | jq -r '.ports[] | select(.status.state != \"UP\").name'");

    private static Command BuildGet()
    {
        Argument<string> name = Options.Name("Name of the port", Kind.Port);
        return new Command("get", "Show one port") { name, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.GetAsync(client, Kind.Port, parsed.GetRequiredValue(name), parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane port get web", "dataplane port get web -o json | jq .status");
    }

    private static Command BuildDelete()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of ports", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.Port);
        return new Command("delete", "Delete ports and their devices") { names, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.DeleteAsync(client, Kind.Port, parsed.GetRequiredValue(names), parsed, cancel))
            .WithExamples("dataplane port delete web db");
    }

    private static Command BuildEnable()
    {
        Argument<string> name = Options.Name("Name of the port", Kind.Port);
        return new Command("enable", "Enable a port again that the BPDU guard or the operator disabled") { name, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new EnablePortRequest { Port = parsed.GetRequiredValue(name) };
                Port port = await client.Admin.EnablePortAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
                if (port is { HasEnabled: true, Enabled: false })
                {
                    port.ClearEnabled();
                    port = await ReplaceAsync(client, port, cancel);
                }
                ResourceOutput.Single(ResourceKeys.Of(port), parsed.GetValue(Options.Output));
            })
            .WithExamples("dataplane port enable web");
    }

    private static Command BuildDisable()
    {
        Argument<string> name = Options.Name("Name of the port", Kind.Port);
        return new Command("disable", "Let no packets in or out of a port") { name, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new GetRequest { Kind = Kind.Port, Name = parsed.GetRequiredValue(name) };
                Port port = (await client.Resources.GetAsync(request, deadline: Client.Deadline, cancellationToken: cancel)).Port;
                port.Enabled = false;
                ResourceOutput.Single(ResourceKeys.Of(await ReplaceAsync(client, port, cancel)), parsed.GetValue(Options.Output));
            })
            .WithExamples("dataplane port disable web");
    }

    private static async Task<Port> ReplaceAsync(Client client, Port port, CancellationToken cancel)
    {
        var request = new ApplyRequest { Resources = { ResourceKeys.Of(port) } };
        return (await client.Resources.ApplyAsync(request, deadline: Client.Deadline, cancellationToken: cancel)).Changes[0].Resource.Port;
    }
}
