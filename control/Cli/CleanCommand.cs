using System.CommandLine;
using Dataplane.Control.Daemon;
using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane clean</c></summary>
internal static class CleanCommand
{
    public static Command Build() => new Command("clean", "Remove what a crash left: a running engine, its devices, the segment, sockets and saved state; give PCI devices back")
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
                    return await RemoveAsync(paths);
                }
            }
            return await RemoveAsync(paths);
        })
        .WithExamples("dataplane clean", "dataplane clean --instance test");

    private static async Task<int> RemoveAsync(InstancePaths paths)
    {
        (IReadOnlyList<string> done, IReadOnlyList<string> problems) = await Leftovers.RemoveAsync(paths, PciBinder.Of(paths));
        foreach (string what in done)
        {
            Output.Line(what);
        }
        foreach (string problem in problems)
        {
            Output.Error(problem);
        }
        return problems.Count == 0 ? ExitCode.Success : ExitCode.Failed;
    }
}
