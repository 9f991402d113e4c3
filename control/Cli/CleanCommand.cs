using System.CommandLine;
using Dataplane.Control.Daemon;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane clean</c></summary>
internal static class CleanCommand
{
    public static Command Build() => new Command("clean", "Remove what a crash left: a running engine, its devices, the segment, sockets and saved state")
        .Does(async (parsed, _) =>
        {
            InstancePaths paths = InstancePaths.Of(parsed.GetRequiredValue(Options.Instance));
            if (File.Exists(paths.Lock))
            {
                if (!FileLock.TryAcquire(paths.Lock, out FileLock? free, out int holder))
                {
                    throw new CommandException(ExitCode.Failed, paths.NamedIn($"instance \"{paths.Name}\" is run by process {holder}; end it with `dataplane stop`"));
                }
                using (free)
                {
                    Report(await Leftovers.RemoveAsync(paths));
                }
            }
            else
            {
                Report(await Leftovers.RemoveAsync(paths));
            }
            return ExitCode.Success;
        })
        .WithExamples("dataplane clean", "dataplane clean --instance test");

    private static void Report(IReadOnlyList<string> removed)
    {
        foreach (string what in removed)
        {
            Output.Line($"removed {what}");
        }
    }
}
