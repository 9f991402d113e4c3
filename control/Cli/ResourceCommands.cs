using System.CommandLine;
using Dataplane.Control.Api;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary>Commands on resources of any kind: apply, delete, get, watch.</summary>
internal static class ResourceCommands
{
    public static Command BuildApply() => new Command("apply", "Create and update resources from files, all of them or none") { Options.File, Options.DryRun, Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            List<LocatedResource> located = ReadFiles(parsed);
            bool dryRun = parsed.GetValue(Options.DryRun);
            var request = new ApplyRequest { DryRun = dryRun };
            request.Resources.AddRange(located.Select(l => l.Resource));
            ApplyResponse response;
            try
            {
                response = await client.Resources.ApplyAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
            }
            catch (RpcException e) when (e.StatusCode != StatusCode.Unavailable && e.Trailers.Count > 0)
            {
                throw new CommandException(ExitCode.Failed, Problems.Locate(Errors.Problems(e), located));
            }
            if (!Output.TryPrint(parsed.GetValue(Options.Output), response))
            {
                Output.Changes(response.Changes, dryRun);
            }
        })
        .WithExamples(
            "dataplane apply -f switch.yaml",
            "dataplane apply -f conf.d/ --dry-run            what would change",
            "dataplane get port web -o json | jq '.isolated = true' | dataplane apply -f -");

    public static Command BuildDelete()
    {
        var what = new Argument<string[]>("KIND NAME...") { Description = $"A kind ({KindNames.All}) and names", Arity = ArgumentArity.ZeroOrMore };
        var missing = new Option<bool>("--ignore-missing") { Description = "Resources that do not exist are no error" };
        return new Command("delete", "Delete resources by name, or those that files name; all of them or none") { what, Options.File, missing, Options.DryRun, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                bool dryRun = parsed.GetValue(Options.DryRun);
                var request = new DeleteRequest { DryRun = dryRun, IgnoreMissing = parsed.GetValue(missing) };
                request.Keys.AddRange(Keys(parsed.GetValue(what) ?? [], parsed));
                DeleteResponse response = await client.Resources.DeleteAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
                if (!Output.TryPrint(parsed.GetValue(Options.Output), response))
                {
                    Output.Changes(response.Changes, dryRun);
                }
            })
            .WithExamples("dataplane delete port web db", "dataplane delete static-mac blue/02:42:ac:12:00:63", "dataplane delete -f switch.yaml --ignore-missing");
    }

    public static Command BuildGet()
    {
        var kind = new Argument<string>("KIND") { Description = KindNames.All + ", or all" };
        var name = new Argument<string?>("NAME") { Description = "One resource; all of the kind without it", Arity = ArgumentArity.ZeroOrOne };
        return new Command("get", "Show resources") { kind, name, Options.Network, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                OutputFormat format = parsed.GetValue(Options.Output);
                string text = parsed.GetRequiredValue(kind);
                if (text == "all")
                {
                    await GetAllAsync(client, format, cancel);
                    return;
                }
                Kind parsedKind = ParseKind(text);
                if (parsed.GetValue(name) is { } one)
                {
                    await ResourceOutput.GetAsync(client, parsedKind, one, format, cancel);
                    return;
                }
                var filter = new Filter { Network = parsed.GetValue(Options.Network) ?? "" };
                ResourceOutput.List(parsedKind, await client.ListAsync(parsedKind, filter, cancel), format);
            })
            .WithExamples("dataplane get ports", "dataplane get port web -o yaml", "dataplane get all -o yaml > switch.yaml      a file that `apply` takes");
    }

    public static Command BuildWatch()
    {
        var kinds = new Argument<string[]>("KIND") { Description = $"Kinds to watch: {KindNames.All} (default: all)", Arity = ArgumentArity.ZeroOrMore };
        return new Command("watch", "Show resources, then every change as it happens; one line each") { kinds, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new WatchRequest();
                request.Kinds.AddRange((parsed.GetValue(kinds) ?? []).Select(ParseKind));
                using AsyncServerStreamingCall<WatchEvent> call = client.Resources.Watch(request, cancellationToken: cancel);
                await foreach (WatchEvent change in call.ResponseStream.ReadAllAsync(cancel))
                {
                    Output.Line(parsed.GetValue(Options.Output) is OutputFormat.Table or OutputFormat.Wide ? Describe(change) : MessageWriter.ToJson(change, compact: true));
                }
            })
            .WithExamples("dataplane watch", "dataplane watch port -o json                    one JSON object per line");
    }

    private static async Task GetAllAsync(Client client, OutputFormat format, CancellationToken cancel)
    {
        var all = new Dictionary<Kind, List<Resource>>();
        foreach (Kind kind in ResourceKeys.Kinds)
        {
            all[kind] = await client.ListAsync(kind, null, cancel);
        }
        if (Output.TryPrint(format, ResourceKeys.ToManifest(all.Values.SelectMany(r => r))))
        {
            return;
        }
        foreach ((Kind kind, List<Resource> resources) in all.Where(p => p.Value.Count > 0))
        {
            ResourceOutput.Table(kind, resources, format);
            Output.Line("");
        }
    }

    private static IEnumerable<ResourceKey> Keys(string[] what, ParseResult parsed)
    {
        bool files = parsed.GetValue(Options.File) is { Length: > 0 };
        if (what.Length == 0 && files)
        {
            return ReadFiles(parsed).Select(l => new ResourceKey { Kind = l.Resource.Kind, Name = l.Resource.KeyName });
        }
        if (what.Length < 2 || files)
        {
            throw new CommandException(ExitCode.Usage, "give a kind and at least one name, or -f FILE");
        }
        Kind kind = ParseKind(what[0]);
        return what[1..].Select(n => new ResourceKey { Kind = kind, Name = n });
    }

    private static List<LocatedResource> ReadFiles(ParseResult parsed)
    {
        string[] files = parsed.GetValue(Options.File) ?? [];
        return files.Length > 0
            ? [.. files.SelectMany(ManifestReader.ReadPath)]
            : throw new CommandException(ExitCode.Usage, "which file? Give -f FILE, -f DIRECTORY, or -f - for standard input");
    }

    private static Kind ParseKind(string text) => KindNames.TryParse(text, out Kind kind)
        ? kind
        : throw new CommandException(ExitCode.Usage, $"unknown kind \"{text}\"; kinds are {KindNames.All}");

    private static string Describe(WatchEvent change)
    {
        string type = change.Type.ToString().ToLowerInvariant();
        if (change.Resource is not { } resource)
        {
            return $"{change.Revision,6}  {type}";
        }
        (string State, string Reason)? became = change.Type == WatchEvent.Types.Type.Deleted ? null
            : resource.Port?.Status is { } port ? (Output.State(port.State), port.Reason)
            : resource.TunnelPeer?.Status is { } peer ? (Output.Word(peer.State), peer.Reason)
            : resource.Service?.Status is { } service ? (Output.State(service.State), service.Reason)
            : null;
        string state = became is { } now ? $"  {now.State}{(now.Reason.Length > 0 ? ": " + now.Reason : "")}" : "";
        return $"{change.Revision,6}  {type,-8}  {resource.Kind.Text} \"{resource.Name}\"{state}";
    }
}
