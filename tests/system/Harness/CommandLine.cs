using Dataplane.Control.Cli;

namespace Dataplane.SystemTests.Harness;

/// <summary>The command line in the test's own process.</summary>
internal static class CommandLine
{
    // The console is the process's, so it can be only one command's at a time.
    private static readonly Lock s_console = new();

    /// <summary>Runs a command to its end.</summary>
    public static Finished Run(string[] arguments)
    {
        lock (s_console)
        {
            (TextWriter output, TextWriter error) = (Console.Out, Console.Error);
            using StringWriter said = new(), complained = new();
            Console.SetOut(said);
            Console.SetError(complained);
            try
            {
                int code = Task.Run(() => RootCommands.RunAsync(arguments)).GetAwaiter().GetResult();
                return new Finished($"dataplane {string.Join(' ', arguments)}", code, $"{said}", $"{complained}");
            }
            finally
            {
                Console.SetOut(output);
                Console.SetError(error);
            }
        }
    }
}
