using System.CommandLine;
using System.Text;
using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane connections</c>: the connection table, as conntrack(8) lists it.</summary>
internal static class ConnectionCommand
{
    private static readonly Option<string> Protocol = new("--protocol", "-p") { Description = "tcp, udp, sctp, icmp, icmpv6, or a number", HelpName = "PROTOCOL" };
    private static readonly Option<string> State = new("--state") { Description = "ESTABLISHED, SYN_SENT, TIME_WAIT …", HelpName = "STATE" };
    private static readonly Option<string> Source = new("--source", "-s") { Description = "The client's address", HelpName = "ADDRESS" };
    private static readonly Option<string> Destination = new("--destination", "-d") { Description = "The address that the client sends to", HelpName = "ADDRESS" };
    private static readonly Option<uint> SourcePort = new("--sport") { Description = "The client's port", HelpName = "PORT" };
    private static readonly Option<uint> DestinationPort = new("--dport") { Description = "The port that the client sends to", HelpName = "PORT" };
    private static readonly Option<string> Service = new Option<string>("--service") { Description = "Only of this service", HelpName = "SERVICE" }.CompletesNames(Kind.Service);
    private static readonly Option<string> Published = new Option<string>("--published") { Description = "Only of this published port", HelpName = "NAME" }.CompletesNames(Kind.PublishedPort);
    private static readonly Option<string> Backend = new("--backend") { Description = "Only to this backend", HelpName = "ADDRESS" };
    private static readonly Option<string> Vrf = new("--vrf") { Description = "Only of this VRF", HelpName = "VRF" };
    private static readonly Option<bool> Statistics = new("--stats") { Description = "How full the table is, and what became of its entries, in place of a list" };

    public static Command Build() => new Command("connections", "Connections of services, published ports and masquerade, as `conntrack -L` lists them")
    {
        Protocol, State, Source, Destination, SourcePort, DestinationPort, Service, Published, Backend, Vrf, Statistics, Options.Output,
    }
    .Calls(async (parsed, client, cancel) =>
    {
        if (parsed.GetValue(Statistics))
        {
            Print(await client.Stats.GetConnectionsAsync(new GetConnectionsRequest(), deadline: Client.Deadline, cancellationToken: cancel), parsed.GetValue(Options.Output));
            return;
        }
        await ListAsync(Request(parsed), client, parsed.GetValue(Options.Output), cancel);
    })
    .WithExamples(
        "dataplane connections --service shop",
        "dataplane connections -p tcp --state ESTABLISHED -s 172.18.0.9",
        "dataplane connections --stats");

    private static ListConnectionsRequest Request(ParseResult parsed) => new()
    {
        Protocol = parsed.GetValue(Protocol) ?? "",
        State = parsed.GetValue(State) ?? "",
        Source = parsed.GetValue(Source) ?? "",
        Destination = parsed.GetValue(Destination) ?? "",
        SourcePort = parsed.GetValue(SourcePort),
        DestinationPort = parsed.GetValue(DestinationPort),
        Service = parsed.GetValue(Service) ?? "",
        PublishedPort = parsed.GetValue(Published) ?? "",
        Backend = parsed.GetValue(Backend) ?? "",
        Vrf = parsed.GetValue(Vrf) ?? "",
    };

    private static async Task ListAsync(ListConnectionsRequest request, Client client, OutputFormat format, CancellationToken cancel)
    {
        var all = new ConnectionList();
        using AsyncServerStreamingCall<Connection> call = client.Stats.ListConnections(request, cancellationToken: cancel);
        await foreach (Connection connection in call.ResponseStream.ReadAllAsync(cancel))
        {
            if (format == OutputFormat.Table)
            {
                Output.Line(Line(connection));
            }
            else
            {
                all.Connections.Add(connection);
            }
        }
        if (format == OutputFormat.Wide)
        {
            Output.Table(
                ["VRF", "PROTOCOL", "STATE", "CLIENT", "DESTINATION", "BY", "TO", ">IDLE", ">EXPIRES", "SETTINGS"],
                all.Connections.Select(c => new[]
                {
                    c.Vrf, c.Protocol, c.State.Length > 0 ? c.State : "-", End(c.Original.Source, c.Original.SourcePort), End(c.Original.Destination, c.Original.DestinationPort), By(c),
                    End(c.Reply.Source, c.Reply.SourcePort), $"{c.IdleSeconds} s", $"{c.ExpiresSeconds} s", string.Join(' ', Settings(c)),
                }));
        }
        else if (format != OutputFormat.Table)
        {
            Output.TryPrint(format, all);
        }
    }

    private static void Print(ConnectionTableStats stats, OutputFormat format)
    {
        if (!Output.TryPrint(format, stats))
        {
            Output.Table(
                ["CONNECTIONS", "HALF-OPEN", "ROOM IPV4", "ROOM IPV6", "BEGUN", "EXPIRED", "EVICTED", "REFUSED", "SWEPT"],
                [[$"{stats.Connections}", $"{stats.HalfOpen}", $"{stats.CapacityIpv4}", $"{stats.CapacityIpv6}", $"{stats.Inserted}", $"{stats.Expired}", $"{stats.Evicted}", $"{stats.Refused}", $"{stats.Swept}"]]);
        }
    }

    /// <summary><c>tcp 431999 ESTABLISHED src=172.18.0.9 dst=10.96.0.10 sport=40000 dport=80 src=172.18.0.2 dst=172.18.0.9 sport=8080 dport=40000 service=shop</c></summary>
    internal static string Line(Connection c)
    {
        var text = new StringBuilder();
        text.Append($"{c.Protocol,-6} {c.ExpiresSeconds} ");
        if (c.State.Length > 0)
        {
            text.Append(c.State).Append(' ');
        }
        Append(c.Original);
        if (c.HalfOpen)
        {
            text.Append(" [UNREPLIED]");
        }
        text.Append(' ');
        Append(c.Reply);
        text.Append(By(c) is "-" ? "" : $" {By(c)}");
        foreach (string setting in Settings(c))
        {
            text.Append(' ').Append(setting);
        }
        return c.Vrf == Dataplane.Control.State.ResourceKeys.MainVrf ? text.ToString() : text.Append($" vrf={c.Vrf}").ToString();

        void Append(Flow flow)
        {
            text.Append($"src={flow.Source} dst={flow.Destination}");
            text.Append(c.Protocol.StartsWith("icmp", StringComparison.Ordinal) ? $" id={Math.Max(flow.SourcePort, flow.DestinationPort)}" : $" sport={flow.SourcePort} dport={flow.DestinationPort}");
        }
    }

    private static string By(Connection c) => c.Service.Length > 0 ? $"service={c.Service}" : c.PublishedPort.Length > 0 ? $"published={c.PublishedPort}" : "-";

    private static IEnumerable<string> Settings(Connection c)
    {
        if (c.Dsr)
        {
            yield return "dsr";
        }
        if (c.Reset)
        {
            yield return "reset";
        }
    }

    private static string End(string address, uint port) => address.Contains(':', StringComparison.Ordinal) ? $"[{address}]:{port}" : $"{address}:{port}";
}
