using System.Net.Sockets;
using System.Runtime.InteropServices;
using Dataplane.Control.Cli;
using Dataplane.Interop.Linux;
using Grpc.Core;

namespace Dataplane.Control.Demo;

/// <summary>
/// What all demos have in common. What an earlier demo left is removed, things are made, shown (live, or as a list of checks), and
/// removed; the removal is the same code whether all went well, something failed, or Ctrl-C came in the middle.
/// </summary>
internal static class DemoRun
{
    /// <summary>Exit code after Ctrl-C, as shells give it.</summary>
    private const int Interrupted = 130;

    /// <summary>Runs a demo, from the first look for leftovers to the last. Gives the exit code.</summary>
    /// <param name="plan">Tells whether the host's device is the demo's; null for a demo that does not touch the machine's network.</param>
    /// <param name="once">As a list of checks: then what the daemon left is a failure too.</param>
    /// <param name="show">Makes things and shows them; gives the number of failures.</param>
    public static async Task<int> RunAsync(DemoPlan? plan, bool once, Func<CancellationToken, Task<int>> show)
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
            return await RunAsync(plan, once, show, ctrlC.Token);
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

    /// <summary>Shows something live, until Ctrl-C or for so many seconds.</summary>
    public static async Task LiveAsync(int seconds, Func<CancellationToken, Task> view, CancellationToken ctrlC)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(ctrlC);
        if (seconds > 0)
        {
            ended.CancelAfter(TimeSpan.FromSeconds(seconds));
        }
        try
        {
            await view(ended.Token);
        }
        catch (Exception e) when (ended.IsCancellationRequested && e is OperationCanceledException or RpcException)
        {
            // Ctrl-C, or the time is over.
        }
    }

    private static async Task<int> RunAsync(DemoPlan? plan, bool once, Func<CancellationToken, Task<int>> show, CancellationToken ctrlC)
    {
        if (!Environment.IsPrivilegedProcess)
        {
            throw new DemoException("network namespaces and TAP devices need root: run it with sudo");
        }
        using Socket only = BecomeTheOnlyDemo();
        await RemoveLeftoversAsync();
        if (plan is { Isolated: false })
        {
            await DemoConflicts.CheckAsync(plan, ctrlC);
        }

        int failures = 0;
        try
        {
            failures = await show(ctrlC);
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

    /// <summary>
    /// The name of an abstract socket belongs to one process and goes with it, however it ends: nothing that could be left.
    /// </summary>
    private static Socket BecomeTheOnlyDemo()
    {
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint("\0dataplane-" + DemoInstance.Single.Name));
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

    /// <summary>
    /// Removes everything and looks again. As a check it also fails for what the daemon did not remove by itself; in the live
    /// view somebody may have killed the daemon to see what happens.
    /// </summary>
    private static async Task<int> CleanUpAsync(DemoPlan? plan, bool once)
    {
        // The namespaces and the logs are the demo's own.
        IReadOnlyList<Trace> found = await Traces.FindAsync(plan);
        Trace[] byDaemon = [.. found.Where(t => t.Kind != TraceKind.Namespace && !DemoInstance.All.Any(i => i.Log == t.Name))];
        IReadOnlyList<Trace> stuck = await Traces.RemoveAsync(plan);
        string? problem = stuck.Count > 0 ? "cannot remove: " + string.Join(", ", stuck)
            : once && byDaemon.Length > 0 ? "removed, but the daemon had left: " + string.Join<Trace>(", ", byDaemon) : null;
        Console.WriteLine(problem is null ? "ok   clean-up  nothing is left" : "FAIL clean-up  " + problem);
        return problem is null ? 0 : 1;
    }
}
