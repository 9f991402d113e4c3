using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane events</c></summary>
internal static class EventsCommand
{
    public static Command Build()
    {
        var follow = new Option<bool>("--follow", "-f") { Description = "Go on with new events until Ctrl-C" };
        return new Command("events", "What happened: MAC flaps, lost ports, BPDU guard, engine restarts") { follow, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new WatchEventsRequest { NoFollow = !parsed.GetValue(follow) };
                using AsyncServerStreamingCall<Event> call = client.Stats.WatchEvents(request, cancellationToken: cancel);
                await foreach (Event happened in call.ResponseStream.ReadAllAsync(cancel))
                {
                    Output.Line(parsed.GetValue(Options.Output) is OutputFormat.Table or OutputFormat.Wide ? Describe(happened) : MessageWriter.ToJson(happened, compact: true));
                }
            })
            .WithExamples("dataplane events", "dataplane events --follow", "dataplane events -o json                        one JSON object per line");
    }

    private static string Describe(Event e) =>
        $"{e.Time.ToDateTimeOffset().ToLocalTime().ToString("yyyy-MM-dd HH:mm:ss.fff", CultureInfo.InvariantCulture)}  {e.Type,-14}  {e.Text}";
}
