return await Dataplane.Control.Cli.RootCommands.RunAsync(args);
