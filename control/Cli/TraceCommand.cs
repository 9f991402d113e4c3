using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane trace</c></summary>
internal static class TraceCommand
{
    private static readonly Option<string[]> Port = new Option<string[]>("--port", "-p") { Description = "Only packets received from this port; may be given more than once", HelpName = "PORT" }.CompletesNames(Kind.Port);
    private static readonly Option<uint> Count = new("--count", "-c") { Description = "Packets to trace", HelpName = "N", DefaultValueFactory = _ => 1 };

    public static Command Build() => new Command("trace", "Follow received packets through the switch: what each stage decided, and why") { Port, Count, CaptureCommand.Filter, Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            var request = new TraceRequest { Ports = { parsed.GetValue(Port) ?? [] }, Count = parsed.GetValue(Count), Filter = parsed.GetValue(CaptureCommand.Filter) ?? "" };
            OutputFormat format = parsed.GetValue(Options.Output);
            using AsyncServerStreamingCall<TracedPacket> call = client.Inspection.Trace(request, cancellationToken: cancel);
            await call.ResponseHeadersAsync;
            await Console.Error.WriteLineAsync("tracing; Ctrl-C ends it");
            await foreach (TracedPacket packet in call.ResponseStream.ReadAllAsync(cancel))
            {
                if (format is OutputFormat.Table or OutputFormat.Wide)
                {
                    Print(packet);
                }
                else
                {
                    Output.Line(MessageWriter.ToJson(packet, compact: true));
                }
            }
        })
        .WithExamples(
            "dataplane trace                                      the next packet of any port",
            "dataplane trace --port web --count 10 --filter icmp",
            "dataplane trace --count 100 -o json                  one JSON object per line");

    private static void Print(TracedPacket packet)
    {
        string time = packet.Time.ToDateTimeOffset().ToLocalTime().ToString("HH:mm:ss.ffffff", CultureInfo.InvariantCulture);
        Output.Line($"packet {packet.Number}  {time}  {packet.Length} bytes  {packet.Summary}");
        foreach (TraceLine line in packet.Lines)
        {
            double microseconds = (line.After.Seconds * 1e6) + (line.After.Nanos / 1e3);
            Output.Line(string.Create(CultureInfo.InvariantCulture, $"  {microseconds,7:0.0} µs  {line.Stage,-8} {line.Text}"));
        }
    }
}
