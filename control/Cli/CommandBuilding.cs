using System.CommandLine;
using System.CommandLine.Help;
using System.CommandLine.Invocation;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Security.Authentication;
using Dataplane.Control.Api;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary>How commands are put together: examples in their help, and errors as people want to read them.</summary>
internal static class CommandBuilding
{
    private static readonly ConditionalWeakTable<Command, string[]> Examples = [];

    /// <summary>Adds lines to the end of the command's help.</summary>
    public static T WithExamples<T>(this T command, params string[] examples)
        where T : Command
    {
        Examples.Add(command, examples);
        return command;
    }

    /// <summary>What the command does with a running daemon.</summary>
    public static Command Calls(this Command command, Func<ParseResult, Client, CancellationToken, Task> action)
    {
        ServerOptions.AddTo(command);
        command.SetAction(async (parsed, cancel) =>
        {
            string instance = parsed.GetRequiredValue(Options.Instance);
            return await GuardAsync(
                async () =>
                {
                    using Client client = ServerOptions.Connect(parsed);
                    await action(parsed, client, cancel);
                },
                instance, cancel, server: ServerOptions.ServerOf(parsed));
        });
        return command;
    }

    /// <summary>What the command does without a daemon.</summary>
    public static Command Does(this Command command, Func<ParseResult, CancellationToken, Task<int>> action)
    {
        command.SetAction(async (parsed, cancel) =>
        {
            int code = ExitCode.Success;
            int failed = await GuardAsync(async () => code = await action(parsed, cancel), parsed.GetRequiredValue(Options.Instance), cancel);
            return failed != ExitCode.Success ? failed : code;
        });
        return command;
    }

    /// <summary>Lets <c>--help</c> show the examples, for this command and those below.</summary>
    public static void UseExamplesInHelp(RootCommand root)
    {
        if (root.Options.OfType<HelpOption>().FirstOrDefault() is { Action: SynchronousCommandLineAction help } option)
        {
            option.Action = new HelpWithExamples(help);
        }
    }

    private static async Task<int> GuardAsync(Func<Task> action, string instance, CancellationToken cancel, string? server = null)
    {
        try
        {
            await action();
            return ExitCode.Success;
        }
        catch (CommandException e)
        {
            Output.Error(e.Message);
            return e.ExitCode;
        }
        catch (ManifestException e)
        {
            foreach (ManifestProblem problem in e.Problems)
            {
                Output.Error(problem.ToString());
            }
            return ExitCode.Usage;
        }
        catch (RpcException e) when (server is not null && e.Status.DebugException is HttpRequestException or SocketException or AuthenticationException or IOException)
        {
            return Remote(e, server);
        }
        catch (RpcException e) when (e.StatusCode == StatusCode.Unavailable && IsNobodyThere(e))
        {
            string option = instance == InstancePaths.DefaultInstance ? "" : $" --instance {instance}";
            Output.Error(IsLeft(InstancePaths.Of(instance))
                ? $"no daemon runs for instance \"{instance}\", and the last one did not clean up; go on with: dataplane run{option}, or remove what is left and give devices back with: dataplane clean{option}"
                : $"no daemon runs for instance \"{instance}\"; start it (as root) with: dataplane run{option}");
            return ExitCode.NotRunning;
        }
        catch (RpcException) when (cancel.IsCancellationRequested)
        {
            return ExitCode.Success; // Ctrl-C ends a watch, which is no failure
        }
        catch (OperationCanceledException) when (cancel.IsCancellationRequested)
        {
            return ExitCode.Success;
        }
        catch (RpcException e) when (IsRefusedByPermissions(e))
        {
            Output.Error($"the API socket {InstancePaths.Of(instance).ApiSocket} is closed to this user; use sudo, or start the daemon with --socket-group");
            return ExitCode.Failed;
        }
        catch (RpcException e) when (e.Status.DebugException is HttpProtocolException or HttpIOException)
        {
            Output.Error("the daemon has ended");
            return ExitCode.Failed;
        }
        catch (RpcException e)
        {
            foreach (Problem problem in Errors.Problems(e))
            {
                Output.Error(ProblemText.Line(problem));
            }
            return ExitCode.Failed;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Output.Error(e.Message);
            return ExitCode.Failed;
        }
    }

    /// <summary>A server across the network could not be talked to.</summary>
    private static int Remote(RpcException e, string server)
    {
        Exception cause = e.Status.DebugException!;
        while (cause.InnerException is not null)
        {
            cause = cause.InnerException;
        }
        Output.Error(cause switch
        {
            SocketException { SocketErrorCode: SocketError.ConnectionRefused } => $"no daemon listens on {server}; start one with: dataplane run --listen {server} ...",
            SocketException => $"{server} cannot be reached: {cause.Message}",
            AuthenticationException => $"{server} is not trusted: {cause.Message}",
            _ => $"{server} ended the connection: {cause.Message}; its log tells when it is our certificate that it does not trust",
        });
        return cause is SocketException ? ExitCode.NotRunning : ExitCode.Failed;
    }

    /// <summary>Whether a daemon ended without cleaning up: it was killed, or was to leave the engine.</summary>
    private static bool IsLeft(InstancePaths paths) => File.Exists(paths.Devices) || File.Exists(paths.EngineLock);

    private static bool IsNobodyThere(RpcException e) => SocketErrorOf(e) is SocketError.ConnectionRefused or SocketError.AddressNotAvailable
        || (SocketErrorOf(e) is { } error && error is not SocketError.AccessDenied && e.Status.DebugException is HttpRequestException);

    private static bool IsRefusedByPermissions(RpcException e) => SocketErrorOf(e) is SocketError.AccessDenied;

    private static SocketError? SocketErrorOf(RpcException e)
    {
        for (Exception? inner = e.Status.DebugException; inner is not null; inner = inner.InnerException)
        {
            if (inner is SocketException socket)
            {
                return socket.SocketErrorCode;
            }
        }
        return null;
    }

    private sealed class HelpWithExamples(SynchronousCommandLineAction help) : SynchronousCommandLineAction
    {
        public override int Invoke(ParseResult parsed)
        {
            int result = help.Invoke(parsed);
            if (Examples.TryGetValue(parsed.CommandResult.Command, out string[]? examples))
            {
                TextWriter output = parsed.InvocationConfiguration.Output;
                output.WriteLine("Examples:");
                foreach (string example in examples)
                {
                    output.WriteLine("  " + example);
                }
                output.WriteLine();
            }
            return result;
        }
    }
}
