using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane stop</c></summary>
internal static class StopCommand
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    public static Command Build()
    {
        var keep = new Option<bool>("--keep-engine") { Description = "Leave the engine forwarding; the next `dataplane run` takes it over (for upgrades)" };
        return new Command("stop", "End the daemon, and the engine with everything it made") { keep }
            .Calls(async (parsed, client, cancel) =>
            {
                InstancePaths paths = InstancePaths.Of(parsed.GetRequiredValue(Options.Instance));
                int pid = FileLock.ReadPid(paths.Lock);
                await client.Admin.StopAsync(new StopRequest { KeepEngine = parsed.GetValue(keep) }, deadline: Client.Deadline, cancellationToken: cancel);
                using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancel);
                patience.CancelAfter(Patience);
                while (pid > 0 && LinuxProcess.Kill(pid, 0))
                {
                    if (patience.IsCancellationRequested)
                    {
                        throw new CommandException(ExitCode.Failed, $"the daemon (pid {pid}) has not ended within {Patience.TotalSeconds:0} s");
                    }
                    await Task.Delay(20, CancellationToken.None);
                }
            })
            .WithExamples("dataplane stop", "dataplane stop --keep-engine && dataplane run     packets flow all the while");
    }
}
