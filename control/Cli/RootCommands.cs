using System.CommandLine;

namespace Dataplane.Control.Cli;

/// <summary>The command line, as <c>dataplane --help</c> lists it.</summary>
internal static class RootCommands
{
    public static RootCommand Build()
    {
        var root = new RootCommand("A userspace switch for containers: its daemon, and the command line of the daemon.")
        {
            Demo.DemoCommand.Create(),
            RunCommand.Build(),
            StopCommand.Build(),
            CleanCommand.Build(),
            StatusCommand.Build(),
            DoctorCommand.Build(),
            DeviceCommands.Build(),
            NetworkCommands.Build(),
            PortCommands.Build(),
            QueueCommands.Build(),
            PolicyCommands.Build(),
            MacCommands.Build(),
            RouteCommands.Build(),
            NeighbourCommands.Build(),
            PeerCommands.Build(),
            ServiceCommands.Build(),
            BackendCommands.Build(),
            PublishCommands.Build(),
            ConnectionCommand.Build(),
            BridgeCommand.Build(),
            StatsCommand.Build(),
            TopCommand.Build(),
            EventsCommand.Build(),
            CaptureCommand.Build(),
            TraceCommand.Build(),
            ResourceCommands.BuildApply(),
            ResourceCommands.BuildDelete(),
            ResourceCommands.BuildGet(),
            ResourceCommands.BuildWatch(),
            CompletionCommand.Build(),
            Options.Instance,
        };
        root.WithExamples(
            "dataplane run                                            start the switch (as root)",
            "dataplane network add blue --subnet 172.18.0.0/16 --gateway 172.18.0.1",
            "dataplane port add dp0 --network blue --host             the host's own port",
            "dataplane port add web --network blue --netns web --address 172.18.0.2/16 --default-route",
            "dataplane status",
            "",
            "Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 no daemon runs.");
        CommandBuilding.UseExamplesInHelp(root);
        return root;
    }

    /// <summary>Parses and runs. Errors of the command line go to standard error, with exit code 2.</summary>
    public static async Task<int> RunAsync(string[] args)
    {
        ParseResult parsed = Build().Parse(args);
        if (parsed.Action is System.CommandLine.Invocation.ParseErrorAction)
        {
            foreach (System.CommandLine.Parsing.ParseError error in parsed.Errors)
            {
                Output.Error(error.Message);
            }
            await Console.Error.WriteLineAsync($"see: {Path(parsed.CommandResult)} --help");
            return ExitCode.Usage;
        }
        var invocation = new InvocationConfiguration();
        if (parsed.CommandResult.Command.Name == RunCommand.Name)
        {
            // The daemon handles signals itself, and takes the time that many ports need to be taken down.
            invocation.ProcessTerminationTimeout = null;
        }
        return await parsed.InvokeAsync(invocation);
    }

    private static string Path(System.CommandLine.Parsing.CommandResult command) =>
        command.Parent is System.CommandLine.Parsing.CommandResult parent ? $"{Path(parent)} {command.Command.Name}" : "dataplane";
}
