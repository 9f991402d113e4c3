using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Dataplane.Control.Cli;
using Dataplane.Interop.Linux;
using Grpc.Core;
using Spectre.Console;

namespace Dataplane.Control.Demo;

/// <summary>
/// `dataplane demo`: containers on one bridge network, made from nothing and removed without a trace. The order is: what
/// an earlier demo left is removed, conflicts are looked for, things are made, shown (live, or as a list of checks), and
/// removed; the removal is the same code whether all went well, something failed, or Ctrl-C came in the middle.
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

    /// <summary>Exit code after Ctrl-C, as shells give it.</summary>
    private const int Interrupted = 130;

    public static Command Create()
    {
        Command command = new("demo", "Show the switch at work: containers (network namespaces) on one network, live until Ctrl-C")
        {
            Once, Isolated, Containers, Subnet, Duration, IperfSeconds,
        };
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
        using var ctrlC = new CancellationTokenSource();
        void Stop(PosixSignalContext context)
        {
            context.Cancel = true;
            ctrlC.Cancel();
        }
        using PosixSignalRegistration interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
        using PosixSignalRegistration terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
        using PosixSignalRegistration hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, Stop);
        try
        {
            int containers = options.GetValue(Containers);
            if (!DemoPlan.TryParseSubnet(options.GetValue(Subnet)!, containers, out IPNetwork subnet, out string problem))
            {
                throw new DemoException("--subnet: " + problem);
            }
            DemoPlan plan = DemoPlan.Create(containers, subnet, options.GetValue(Isolated));
            return await RunAsync(plan, options, ctrlC.Token);
        }
        catch (Exception e) when (e is DemoException or LinuxException)
        {
            Output.Error(e.Message);
            return ExitCode.Failed;
        }
        catch (RpcException e)
        {
            Output.Error(e.StatusCode == StatusCode.Unavailable ? "the daemon does not answer any more" : e.Status.Detail);
            return ExitCode.Failed;
        }
        catch (IOException)
        {
            return ExitCode.Failed; // the terminal is gone, and what was made too
        }
        catch (OperationCanceledException) when (ctrlC.IsCancellationRequested)
        {
            return Interrupted;
        }
    }

    private static async Task<int> RunAsync(DemoPlan plan, ParseResult options, CancellationToken ctrlC)
    {
        if (!Environment.IsPrivilegedProcess)
        {
            throw new DemoException("network namespaces and TAP devices need root: run it with sudo");
        }
        using Socket only = BecomeTheOnlyDemo();
        await RemoveLeftoversAsync();
        if (!plan.Isolated)
        {
            await CheckConflictsAsync(plan, ctrlC);
        }

        bool once = options.GetValue(Once);
        int failures = 0;
        try
        {
            await using DemoSession session = await DemoSession.StartAsync(plan, ctrlC);
            if (once)
            {
                var checks = new DemoChecks(session, Console.Out);
                await checks.RunAsync(options.GetValue(IperfSeconds), ctrlC);
                failures = checks.Failures;
            }
            else
            {
                await ShowAsync(session, options, ctrlC);
            }
        }
        catch (Exception e) when (ctrlC.IsCancellationRequested && e is OperationCanceledException or RpcException)
        {
            failures += once ? 1 : 0;
        }
        finally
        {
            failures += await CleanUpAsync(plan, once);
        }
        return failures == 0 ? ExitCode.Success : once && ctrlC.IsCancellationRequested ? Interrupted : ExitCode.Failed;
    }

    private static async Task ShowAsync(DemoSession session, ParseResult options, CancellationToken ctrlC)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(ctrlC);
        if (options.GetValue(Duration) is > 0 and var seconds)
        {
            ended.CancelAfter(TimeSpan.FromSeconds(seconds));
        }
        try
        {
            bool terminal = !Console.IsOutputRedirected && AnsiConsole.Profile.Capabilities.Ansi;
            await new DemoView(session).RunAsync(options.GetValue(IperfSeconds), terminal, ended.Token);
        }
        catch (Exception e) when (ended.IsCancellationRequested && e is OperationCanceledException or RpcException)
        {
            // Ctrl-C, or the time is over.
        }
    }

    /// <summary>
    /// The name of an abstract socket belongs to one process and goes with it, however it ends: nothing that could be left.
    /// </summary>
    private static Socket BecomeTheOnlyDemo()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint("\0dataplane-" + DemoPlan.Instance));
            return socket;
        }
        catch (SocketException e) when (e.SocketErrorCode == SocketError.AddressAlreadyInUse)
        {
            socket.Dispose();
            throw new DemoException("a demo runs already; end it first (Ctrl-C where it runs)");
        }
    }

    private static async Task RemoveLeftoversAsync()
    {
        IReadOnlyList<Trace> left = await Traces.FindAsync(plan: null);
        if (left.Count == 0)
        {
            return;
        }
        Console.WriteLine("Removing what an earlier demo left: " + string.Join(", ", left));
        IReadOnlyList<Trace> stuck = await Traces.RemoveAsync(plan: null);
        if (stuck.Count > 0)
        {
            throw new DemoException("cannot remove: " + string.Join(", ", stuck));
        }
    }

    private static async Task CheckConflictsAsync(DemoPlan plan, CancellationToken cancel)
    {
        ToolResult routes = await Tools.RunAsync(["ip", "-json", "-4", "route", "show", "table", "all"], TimeSpan.FromSeconds(5), cancel);
        IReadOnlyList<string> conflicts = DemoPlan.Conflicts(plan.Subnet, routes.Output);
        if (conflicts.Count > 0)
        {
            throw new DemoException($"""
                {plan.Subnet} is in use on this machine: {string.Join(", ", conflicts)}
                Choose another one, for example --subnet 172.31.240.0/24, or leave this machine's network alone with --isolated.
                """);
        }
        if (Directory.Exists("/sys/class/net/" + DemoPlan.HostDevice))
        {
            throw new DemoException(
                $"a network device {DemoPlan.HostDevice} exists already (another instance of the switch?); --isolated does without it");
        }
    }

    /// <summary>
    /// Removes everything and looks again. As a check it also fails for what the daemon did not remove by itself; in the live
    /// view somebody may have killed the daemon to see what happens.
    /// </summary>
    private static async Task<int> CleanUpAsync(DemoPlan plan, bool once)
    {
        // The namespaces and this log are the demo's own.
        IReadOnlyList<Trace> found = await Traces.FindAsync(plan);
        Trace[] byDaemon = [.. found.Where(t => t.Kind != TraceKind.Namespace && t.Name != DemoInstance.Log)];
        IReadOnlyList<Trace> stuck = await Traces.RemoveAsync(plan);
        string? problem = stuck.Count > 0 ? "cannot remove: " + string.Join(", ", stuck)
            : once && byDaemon.Length > 0 ? "removed, but the daemon had left: " + string.Join<Trace>(", ", byDaemon) : null;
        Console.WriteLine(problem is null ? "ok   clean-up  nothing is left" : "FAIL clean-up  " + problem);
        return problem is null ? 0 : 1;
    }
}
