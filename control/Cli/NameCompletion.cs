using System.CommandLine;
using System.CommandLine.Completions;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary>Names of resources for the shell's completion, from the daemon if one answers quickly.</summary>
internal static class NameCompletion
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(1);

    public static Option<T> CompletesNames<T>(this Option<T> option, Kind kind)
    {
        option.CompletionSources.Add(context => Names(context, kind));
        return option;
    }

    public static Argument<T> CompletesNames<T>(this Argument<T> argument, Kind kind)
    {
        argument.CompletionSources.Add(context => Names(context, kind));
        return argument;
    }

    private static IEnumerable<CompletionItem> Names(CompletionContext context, Kind kind)
    {
        try
        {
            using Client client = ServerOptions.Connect(context.ParseResult);
            ListResponse found = client.Resources.List(new ListRequest { Kind = kind }, deadline: DateTime.UtcNow + Patience);
            return found.Resources.Select(r => new CompletionItem(r.Name));
        }
        catch (Exception e) when (e is RpcException or InvalidOperationException or CommandException)
        {
            return []; // no daemon, no names
        }
    }
}
