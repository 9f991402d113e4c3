using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>Packets that an interface has received, sent, and not sent though it was meant to.</summary>
public readonly record struct VppCounters(string Name, ulong Received, ulong Sent, ulong NotSent);

/// <summary>What a node of the graph has done since the counters were cleared.</summary>
/// <param name="Name">Its name: "l2-fwd".</param>
/// <param name="Calls">Vectors of packets.</param>
/// <param name="Packets">Packets; none for what only polls.</param>
/// <param name="Clocks">TSC clocks per packet, of three digits.</param>
public readonly record struct VppNode(string Name, ulong Calls, ulong Packets, double Clocks);

/// <summary>Addresses and ports of a UDP packet.</summary>
public readonly record struct VppFlow(string Source, ushort SourcePort, string Destination, ushort DestinationPort);

/// <summary>Reads what VPP's command line prints.</summary>
public static partial class VppOutput
{
    private const byte InterpretAsCommand = 255, SubnegotiationBegin = 250, SubnegotiationEnd = 240;

    /// <summary>The text of an answer: without Telnet's commands, carriage returns and the zero byte at its end.</summary>
    public static string Text(ReadOnlySpan<byte> answer)
    {
        var text = new StringBuilder(answer.Length);
        for (int i = 0; i < answer.Length; i++)
        {
            if (answer[i] != InterpretAsCommand)
            {
                if (answer[i] is not ((byte)'\r' or 0))
                {
                    text.Append((char)answer[i]);
                }
            }
            else if (i + 1 < answer.Length && answer[i + 1] == SubnegotiationBegin)
            {
                int end = answer[i..].IndexOf([InterpretAsCommand, SubnegotiationEnd]);
                i = end < 0 ? answer.Length : i + end + 1;
            }
            else
            {
                i += 2;
            }
        }
        return text.ToString();
    }

    /// <summary>Reads <c>show interface</c>; counters that are zero are not in it. In the order of their numbers, the one that is no port left out.</summary>
    public static IReadOnlyList<VppCounters> Interfaces(string text)
    {
        var interfaces = new SortedDictionary<int, VppCounters>();
        int index = -1;
        foreach (string line in text.Split('\n'))
        {
            if (InterfaceLine().Match(line) is { Success: true } start)
            {
                index = int.Parse(start.Groups["index"].ValueSpan, CultureInfo.InvariantCulture);
                interfaces[index] = new VppCounters(start.Groups["name"].Value, 0, 0, 0);
            }
            if (index >= 0 && CounterAtTheEnd().Match(line) is { Success: true } counter)
            {
                ulong value = Count(counter.Groups["value"]);
                interfaces[index] = counter.Groups["counter"].Value switch
                {
                    "rx packets" => interfaces[index] with { Received = value },
                    "tx packets" => interfaces[index] with { Sent = value },
                    "tx-error" => interfaces[index] with { NotSent = value },
                    _ => interfaces[index],
                };
            }
        }
        return [.. interfaces.Values.Where(i => i.Name != "local0")];
    }

    /// <summary>Reads <c>show runtime</c>: the nodes of the threads that forward, or of the main thread when there is no other.</summary>
    public static IReadOnlyList<VppNode> Nodes(string text)
    {
        var nodes = new List<VppNode>();
        bool isWorker = !text.Contains("Thread 0 ", StringComparison.Ordinal);
        foreach (string line in text.Split('\n'))
        {
            if (ThreadLine().Match(line) is { Success: true } thread)
            {
                isWorker = thread.Groups["number"].Value != "0";
            }
            else if (isWorker && NodeLine().Match(line) is { Success: true } node)
            {
                nodes.Add(new VppNode(
                    node.Groups["name"].Value, Count(node.Groups["calls"]), Count(node.Groups["packets"]),
                    double.Parse(node.Groups["clocks"].ValueSpan, NumberStyles.Float, CultureInfo.InvariantCulture)));
            }
        }
        return nodes;
    }

    /// <summary>Reads <c>show errors</c>: what was counted, drops among it, as "node: reason" with how often.</summary>
    public static IReadOnlyDictionary<string, ulong> Errors(string text)
    {
        var errors = new SortedDictionary<string, ulong>(StringComparer.Ordinal);
        foreach (Match line in ErrorLine().Matches(text))
        {
            string what = $"{line.Groups["node"].Value}: {line.Groups["reason"].Value}";
            errors[what] = errors.GetValueOrDefault(what) + Count(line.Groups["count"]);
        }
        return errors;
    }

    /// <summary>Reads <c>show l2fib</c>: the addresses that were learned.</summary>
    public static int Learned(string text) =>
        LearnedEntries().Match(text) is { Success: true } learned ? int.Parse(learned.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : 0;

    /// <summary>Reads <c>show nat44 summary</c>: the sessions there are.</summary>
    public static int Sessions(string text) =>
        TotalSessions().Match(text) is { Success: true } total ? int.Parse(total.Groups[1].ValueSpan, CultureInfo.InvariantCulture) : 0;

    /// <summary>Reads <c>show cnat timestamp</c>: the sessions there are, each of both directions. One that it has from the start is none of them.</summary>
    public static int Timestamps(string text) =>
        TotalTimestamps().Match(text) is { Success: true } total ? int.Parse(total.Groups[1].ValueSpan, CultureInfo.InvariantCulture) - 1 : 0;

    /// <summary>Reads <c>show trace</c>: the UDP packets over IPv4 as a node saw them.</summary>
    public static IReadOnlyList<VppFlow> Traced(string text, string node)
    {
        var flows = new List<VppFlow>();
        bool isThere = false;
        Match? addresses = null;
        foreach (string line in text.Split('\n'))
        {
            if (TraceNodeLine().Match(line) is { Success: true } start)
            {
                (isThere, addresses) = (start.Groups["node"].Value == node, null);
            }
            else if (isThere && UdpAddresses().Match(line) is { Success: true } found)
            {
                addresses = found;
            }
            else if (addresses is not null && UdpPorts().Match(line) is { Success: true } ports)
            {
                flows.Add(new VppFlow(addresses.Groups["source"].Value, Port(ports.Groups["source"]), addresses.Groups["destination"].Value, Port(ports.Groups["destination"])));
                addresses = null;
            }
        }
        return flows;
    }

    private static ushort Port(Group number) => ushort.Parse(number.ValueSpan, CultureInfo.InvariantCulture);

    private static ulong Count(Group number) => ulong.Parse(number.ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^(?<name>\S+)\s+(?<index>\d+)\s+\S+\s+\d+/\d+/\d+/\d+")]
    private static partial Regex InterfaceLine();

    [GeneratedRegex(@"(?:^|\s)\s+(?<counter>[a-z][a-z0-9 -]*?)\s+(?<value>\d+)\s*$")]
    private static partial Regex CounterAtTheEnd();

    [GeneratedRegex(@"total/learned entries: \d+/(\d+)")]
    private static partial Regex LearnedEntries();

    [GeneratedRegex(@"total sessions: (\d+)")]
    private static partial Regex TotalSessions();

    [GeneratedRegex(@"^\d\d:\d\d:\d\d:\d{6}: (?<node>\S+)\s*$")]
    private static partial Regex TraceNodeLine();

    [GeneratedRegex(@"^\s+UDP: (?<source>[\d.]+\.\d+) -> (?<destination>[\d.]+\.\d+)\s*$")]
    private static partial Regex UdpAddresses();

    [GeneratedRegex(@"^\s+UDP: (?<source>\d+) -> (?<destination>\d+)\s*$")]
    private static partial Regex UdpPorts();

    [GeneratedRegex(@"Total timestamps (\d+)")]
    private static partial Regex TotalTimestamps();

    [GeneratedRegex(@"^Thread (?<number>\d+) ")]
    private static partial Regex ThreadLine();

    [GeneratedRegex(@"^(?<name>\S+)\s+\S.*?\s(?<calls>\d+)\s+(?<packets>\d+)\s+\d+\s+(?<clocks>[\d.]+e[-+]?\d+)\s+[\d.]+\s*$")]
    private static partial Regex NodeLine();

    [GeneratedRegex(@"^\s*(?<count>\d+)\s+(?<node>\S+)\s+(?<reason>\S.*?)\s{2,}\S+\s*$", RegexOptions.Multiline)]
    private static partial Regex ErrorLine();
}
