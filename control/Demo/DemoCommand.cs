using System.CommandLine;
using System.Net;
using Dataplane.Control.Cli;
using Spectre.Console;

namespace Dataplane.Control.Demo;

/// <summary>
/// `dataplane demo`: containers on one bridge network; `dataplane demo cluster`: two nodes and an overlay; `dataplane demo services`: a service
/// whose backends change. Made from nothing and removed without a trace (<see cref="DemoRun"/>).
/// </summary>
public static class DemoCommand
{
    private static readonly Option<bool> Once = new("--once")
    {
        Description = "Print one line per check instead of the live view, and exit with 0 only when all hold",
    };

    private static readonly Option<bool> Isolated = new("--isolated")
    {
        Description = $"Keep the host's port in a namespace too ({DemoPlan.HostNamespaceName}): this machine's network is not touched",
    };

    private static readonly Option<int> Containers = new("--containers")
    {
        Description = "Number of containers, 2 to 16", DefaultValueFactory = _ => 3, HelpName = "N",
    };

    private static readonly Option<string> Subnet = new("--subnet")
    {
        Description = "Subnet of the demo's network", DefaultValueFactory = _ => "172.18.0.0/16", HelpName = "PREFIX",
    };

    private static readonly Option<int> Duration = new("--duration")
    {
        Description = "Seconds after which the live view ends by itself", HelpName = "SECONDS",
    };

    private static readonly Option<int> IperfSeconds = new("--iperf-seconds")
    {
        Description = "Length of the TCP measurement", DefaultValueFactory = _ => 3, HelpName = "SECONDS",
    };

    public static Command Create()
    {
        Command command = new("demo", "Show the switch at work: containers (network namespaces) on one network, live until Ctrl-C")
        {
            Once, Isolated, Containers, Subnet, Duration, IperfSeconds,
        };
        command.Subcommands.Add(CreateCluster());
        command.Subcommands.Add(CreateServices());
        Containers.Validators.Add(result => Range(result, 2, 16));
        Duration.Validators.Add(result => Range(result, 1, 1_000_000));
        IperfSeconds.Validators.Add(result => Range(result, 1, 3600));
        // A synchronous action: with an asynchronous one the command-line library ends the process two seconds after Ctrl-C,
        // finished or not, and the clean-up may not be cut short.
        command.SetAction(result => RunAsync(result).GetAwaiter().GetResult());
        return command.WithExamples(
            "dataplane demo                              three containers on 172.18.0.0/16, live",
            "dataplane demo --once                       one line per check; exits 0 only when all hold",
            "dataplane demo --once --isolated            the same, without touching the network of this machine",
            "dataplane demo --containers 8 --subnet 10.99.0.0/24");

        static Command CreateCluster()
        {
            Command cluster = new("cluster", "Two nodes, each with a switch and a container, and a VXLAN overlay between them")
            {
                Once, Duration, IperfSeconds,
            };
            cluster.SetAction(result => RunClusterAsync(result).GetAwaiter().GetResult());
            return cluster.WithExamples(
                "dataplane demo cluster                      two nodes, live; this machine's network is not touched",
                "dataplane demo cluster --once               one line per check, with what each hop did to a ping");
        }

        static Command CreateServices()
        {
            Command services = new("services", "A service with backends that come and go, a published port, and masquerade") { Once, Duration };
            services.SetAction(result => RunServicesAsync(result).GetAwaiter().GetResult());
            return services.WithExamples(
                "dataplane demo services                     a client asks all the time while backends change; this machine's network is not touched",
                "dataplane demo services --once              one line per check, with what each stage did to the first packet of a connection");
        }

        static void Range(System.CommandLine.Parsing.OptionResult result, int min, int max)
        {
            if (result.GetValueOrDefault<int>() is var value && (value < min || value > max))
            {
                result.AddError($"{result.IdentifierToken?.Value} must be from {min} to {max}");
            }
        }
    }

    private static async Task<int> RunAsync(ParseResult options)
    {
        int containers = options.GetValue(Containers);
        if (!DemoPlan.TryParseSubnet(options.GetValue(Subnet)!, containers, out IPNetwork subnet, out string problem))
        {
            Output.Error("--subnet: " + problem);
            return ExitCode.Failed;
        }
        DemoPlan plan = DemoPlan.Create(containers, subnet, options.GetValue(Isolated));
        bool once = options.GetValue(Once);
        return await DemoRun.RunAsync(plan, once, async ctrlC =>
        {
            await using DemoSession session = await DemoSession.StartAsync(plan, ctrlC);
            if (once)
            {
                var checks = new CheckList(Console.Out);
                await new DemoChecks(session, checks).RunAsync(options.GetValue(IperfSeconds), ctrlC);
                return checks.Failures;
            }
            await DemoRun.LiveAsync(options.GetValue(Duration), ended => new DemoView(session).RunAsync(options.GetValue(IperfSeconds), HasTerminal, ended), ctrlC);
            return 0;
        });
    }

    private static async Task<int> RunClusterAsync(ParseResult options)
    {
        bool once = options.GetValue(Once);
        return await DemoRun.RunAsync(null, once, async ctrlC =>
        {
            await using ClusterSession session = await ClusterSession.StartAsync(ctrlC);
            if (once)
            {
                var checks = new CheckList(Console.Out);
                await new ClusterChecks(session, checks).RunAsync(options.GetValue(IperfSeconds), ctrlC);
                return checks.Failures;
            }
            await DemoRun.LiveAsync(options.GetValue(Duration), ended => new ClusterView(session).RunAsync(HasTerminal, ended), ctrlC);
            return 0;
        });
    }

    private static async Task<int> RunServicesAsync(ParseResult options)
    {
        bool once = options.GetValue(Once);
        return await DemoRun.RunAsync(null, once, async ctrlC =>
        {
            await using ServicesSession session = await ServicesSession.StartAsync(ctrlC);
            if (once)
            {
                var checks = new CheckList(Console.Out);
                await new ServicesChecks(session, checks).RunAsync(ctrlC);
                return checks.Failures;
            }
            await DemoRun.LiveAsync(options.GetValue(Duration), ended => new ServicesView(session).RunAsync(HasTerminal, ended), ctrlC);
            return 0;
        });
    }

    private static bool HasTerminal => !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi;
}
