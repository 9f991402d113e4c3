using System.CommandLine;
using System.Globalization;
using System.IO.Pipelines;
using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane capture</c></summary>
internal static class CaptureCommand
{
    private static readonly Option<string[]> Port = new Option<string[]>("--port", "-p") { Description = "Only at this port; may be given more than once", HelpName = "PORT" }.CompletesNames(Kind.Port);
    private static readonly Option<string> Direction = new("--direction") { Description = "Only packets received (in) or sent (out)", HelpName = "in|out" };
    private static readonly Option<string[]> Drops = new("--drops")
    {
        Description = "Dropped packets instead, with the reason as comment; only those of REASON when given (names: dataplane stats --drops)",
        HelpName = "REASON",
        Arity = ArgumentArity.ZeroOrMore,
    };
    private static readonly Option<string> File = new("--write", "-w") { Description = "File to write, in the format pcapng, or - for standard output", HelpName = "FILE", Required = true };
    private static readonly Option<uint> SnapLength = new("--snap-length", "-s") { Description = "Keep so many bytes of each packet (default: all)", HelpName = "BYTES" };
    private static readonly Option<ulong> Count = new("--count", "-c") { Description = "End after so many packets", HelpName = "N" };

    /// <summary>How long to wait for packets captured before Ctrl-C.</summary>
    private static readonly TimeSpan LastPackets = TimeSpan.FromSeconds(1.5);

    /// <summary>A filter as tcpdump takes it.</summary>
    internal static Option<string> Filter { get; } = new("--filter", "-f") { Description = "Only packets that match, as for tcpdump; see pcap-filter(7)", HelpName = "EXPRESSION" };

    public static Command Build()
    {
        Direction.AcceptOnlyFromAmong("in", "out");
        return new Command("capture", "Write packets to a file, or to standard output, until Ctrl-C") { Port, Direction, Drops, Filter, File, SnapLength, Count }
            .Calls(RunAsync)
            .WithExamples(
                "dataplane capture -w all.pcapng                              packets at every port, in and out",
                "dataplane capture --port web --filter 'tcp port 80' -w web.pcapng",
                "dataplane capture --drops -w drops.pcapng                    dropped packets, each with its reason",
                "dataplane capture --drops=isolated,storm-control -w -        only those dropped for these reasons",
                "dataplane capture -w - | wireshark -k -i -                   live; tshark -r - works too");
    }

    private static async Task RunAsync(ParseResult parsed, Client client, CancellationToken cancel)
    {
        string path = parsed.GetRequiredValue(File);
        if (path == "-" && !Console.IsOutputRedirected)
        {
            throw new CommandException(ExitCode.Usage, "pcapng is not for a terminal: name a file, or pipe it to a program, such as: dataplane capture -w - | tshark -r -");
        }
        var request = new CaptureRequest
        {
            Ports = { parsed.GetValue(Port) ?? [] },
            Direction = parsed.GetValue(Direction) switch { "in" => CaptureRequest.Types.Direction.In, "out" => CaptureRequest.Types.Direction.Out, _ => CaptureRequest.Types.Direction.Any },
            Drops = parsed.GetResult(Drops) is not null,
            Reasons = { (parsed.GetValue(Drops) ?? []).SelectMany(r => r.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)) },
            Filter = parsed.GetValue(Filter) ?? "",
            SnapLength = parsed.GetValue(SnapLength),
            Count = parsed.GetValue(Count),
        };
        using var patience = new CancellationTokenSource();
        using AsyncDuplexStreamingCall<CaptureRequest, CaptureChunk> call = client.Inspection.Capture(cancellationToken: patience.Token);
        await call.RequestStream.WriteAsync(request, cancel);
        // The header comes at once, or a refusal, which must not leave an empty file behind.
        if (!await call.ResponseStream.MoveNext(cancel))
        {
            return;
        }
        // Ctrl-C ends the capture, not the call: what was captured until then still comes.
        using CancellationTokenRegistration end = cancel.Register(() =>
        {
            patience.CancelAfter(LastPackets);
            _ = call.RequestStream.CompleteAsync();
        });
        await using Stream stream = path == "-" ? Console.OpenStandardOutput() : System.IO.File.Create(path);
        await Console.Error.WriteLineAsync($"capturing to {(path == "-" ? "standard output" : path)}; Ctrl-C ends it");
        PipeWriter output = PipeWriter.Create(stream);
        CaptureChunk last = call.ResponseStream.Current;
        try
        {
            do
            {
                last = call.ResponseStream.Current;
                await output.WriteAsync(last.Pcapng.Memory, CancellationToken.None);
                await output.FlushAsync(CancellationToken.None);
            }
            while (await call.ResponseStream.MoveNext(patience.Token));
        }
        catch (Exception e) when (cancel.IsCancellationRequested && e is RpcException or OperationCanceledException)
        {
            // The last packets did not come in time.
        }
        finally
        {
            await output.CompleteAsync();
            await Console.Error.WriteLineAsync(string.Create(CultureInfo.InvariantCulture, $"{last.Packets} packets captured, {last.Lost} lost"));
        }
    }
}
