using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane service …</c></summary>
internal static class ServiceCommands
{
    public static Command Build() => new Command("service", "Services: virtual addresses, and the backends behind them; all of them without a command")
    {
        BuildList(), BuildGet(), BuildAdd(), BuildDelete(), Options.Output,
    }
    .Calls((parsed, client, cancel) => ListAsync(client, new Filter(), parsed.GetValue(Options.Output), cancel))
    .WithExamples(
        "dataplane service add shop 10.96.0.10 --port 80:8080",
        "dataplane backend add shop 172.18.0.2 172.18.0.3",
        "dataplane service");

    private static Command BuildList()
    {
        var vrf = new Option<string>("--vrf") { Description = "Only services of this VRF", HelpName = "VRF" };
        return new Command("list", "List services and how many of their backends take connections") { vrf, Options.Output }
            .Calls((parsed, client, cancel) => ListAsync(client, new Filter { Vrf = parsed.GetValue(vrf) ?? "" }, parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane service list", "dataplane service list --vrf guests -o wide");
    }

    private static Command BuildGet()
    {
        Argument<string> name = Options.Name("Name of the service", Kind.Service);
        return new Command("get", "Show one service") { name, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.GetAsync(client, Kind.Service, parsed.GetRequiredValue(name), parsed.GetValue(Options.Output), cancel))
            .WithExamples("dataplane service get shop -o yaml");
    }

    private static Command BuildAdd()
    {
        Argument<string> name = Options.Name("Name of the new service");
        var addresses = new Argument<string[]>("ADDRESS") { Description = "Cluster IPs", Arity = ArgumentArity.ZeroOrMore };
        var ports = new Option<string[]>("--port")
        {
            Description = $"A port: {PortWords.ServiceSyntax}; may be given several times, each with a name then",
            HelpName = "PORT",
            Required = true,
        };
        var external = new Option<string[]>("--external") { Description = "An external IP; may be given several times", HelpName = "ADDRESS" };
        var vrf = new Option<string[]>("--vrf") { Description = "A VRF in which it is reached (default: main)", HelpName = "VRF" };
        var affinity = new Option<uint?>("--affinity") { Description = "Seconds for which a client keeps its backend", HelpName = "SECONDS" };
        var maglev = new Option<bool>("--maglev") { Description = "Distribute by a Maglev table" };
        var dsr = new Option<bool>("--dsr") { Description = "Direct server return: backends answer clients themselves" };
        return new Command("add", "Add a service") { name, addresses, ports, external, vrf, affinity, maglev, dsr, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                var service = new Service
                {
                    Name = parsed.GetRequiredValue(name),
                    Affinity = parsed.GetValue(affinity) is { } seconds ? new Affinity { Seconds = seconds } : null,
                    Distribution = parsed.GetValue(maglev) ? Service.Types.Distribution.Maglev : Service.Types.Distribution.Random,
                    Dsr = parsed.GetValue(dsr),
                };
                service.ClusterIps.Add(parsed.GetValue(addresses) ?? []);
                service.ExternalIps.Add(parsed.GetValue(external) ?? []);
                service.Vrfs.Add(parsed.GetValue(vrf) ?? []);
                service.Ports.Add(parsed.GetRequiredValue(ports).Select(PortWords.ServicePort));
                return ResourceOutput.CreateAsync(client, ResourceKeys.Of(service), parsed, cancel);
            })
            .WithExamples(
                "dataplane service add shop 10.96.0.10 --port 80:8080                      port 80, at the backends 8080",
                "dataplane service add dns 10.96.0.53 fd96::53 --port udp=53/udp --port tcp=53/tcp",
                "dataplane service add web 10.96.0.11 --port 80@30080 --external 198.51.100.7   and port 30080 of the node",
                "dataplane service add cache 10.96.0.12 --port 6379 --affinity 600 --maglev");
    }

    private static Command BuildDelete()
    {
        var names = new Argument<string[]>("NAME") { Description = "Names of services", Arity = ArgumentArity.OneOrMore }.CompletesNames(Kind.Service);
        var all = new Option<bool>("--backends") { Description = "And their backends" };
        return new Command("delete", "Delete services") { names, all, Options.DryRun, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var keys = new List<ResourceKey>();
                foreach (string name in parsed.GetRequiredValue(names))
                {
                    if (parsed.GetValue(all))
                    {
                        keys.AddRange((await client.ListAsync(Kind.Backend, new Filter { Service = name }, cancel)).Select(b => new ResourceKey { Kind = Kind.Backend, Name = b.Name }));
                    }
                    keys.Add(new ResourceKey { Kind = Kind.Service, Name = name });
                }
                await ResourceOutput.DeleteAsync(client, keys, parsed, cancel);
            })
            .WithExamples("dataplane service delete shop", "dataplane service delete shop --backends");
    }

    private static async Task ListAsync(Client client, Filter filter, OutputFormat format, CancellationToken cancel) =>
        ResourceOutput.List(Kind.Service, await client.ListAsync(Kind.Service, filter, cancel), format);
}
