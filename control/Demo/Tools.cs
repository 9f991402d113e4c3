using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace Dataplane.Control.Demo;

/// <summary>What a program said, and how it ended.</summary>
internal readonly record struct ToolResult(int ExitCode, string Output, string Error)
{
    public bool Ok => ExitCode == 0;

    /// <summary>The last line it wrote, for a message.</summary>
    public string LastLine =>
        (Error + "\n" + Output).Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) is [.., var last]
            ? last : $"exit code {ExitCode}";
}

/// <summary>The programs that a demo shows the switch with: those that everybody has, not imitations of them.</summary>
internal static partial class Tools
{
    /// <summary>Runs a program to its end, or to the end of <paramref name="limit"/>; its exit code is then -1.</summary>
    public static async Task<ToolResult> RunAsync(IEnumerable<string> command, TimeSpan limit, CancellationToken cancel)
    {
        using var timer = CancellationTokenSource.CreateLinkedTokenSource(cancel);
        timer.CancelAfter(limit);
        using Process process = Start(command);
        var output = new StringBuilder();
        var error = new StringBuilder();
        process.OutputDataReceived += (_, line) => output.AppendLine(line.Data);
        process.ErrorDataReceived += (_, line) => error.AppendLine(line.Data);
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        try
        {
            await process.WaitForExitAsync(timer.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            await process.WaitForExitAsync(CancellationToken.None);
            cancel.ThrowIfCancellationRequested();
            return new ToolResult(-1, output.ToString(), $"no end within {limit.TotalSeconds:0} s");
        }
        return new ToolResult(process.ExitCode, output.ToString(), error.ToString());
    }

    /// <summary>Starts a program whose output is read from pipes.</summary>
    public static Process Start(IEnumerable<string> command)
    {
        string[] words = [.. command];
        var info = new ProcessStartInfo(words[0], words[1..])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            RedirectStandardInput = true,
        };
        // The texts that are read here are the untranslated ones.
        info.Environment["LC_ALL"] = "C";
        try
        {
            Process process = Process.Start(info)!;
            process.StandardInput.Close();
            return process;
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            throw new DemoException($"cannot run {words[0]}: {e.Message} (`./build.sh setup demo` installs it)");
        }
    }

    /// <summary>The command that runs another one in a node's namespace.</summary>
    public static IEnumerable<string> In(Node node, params IEnumerable<string> command) =>
        node.Namespace is null ? command : [.. EnterNamespace(node.Namespace), .. command];

    public static IEnumerable<string> EnterNamespace(string name) => ["nsenter", $"--net=/run/netns/{name}", "--"];

    public static Task<ToolResult> BringLoopbackUpAsync(Node node, CancellationToken cancel) =>
        RunAsync(In(node, "ip", "link", "set", "lo", "up"), TimeSpan.FromSeconds(10), cancel);

    /// <summary>Runs a program that must succeed.</summary>
    public static async Task MustAsync(IEnumerable<string> command, CancellationToken cancel)
    {
        ToolResult result = await RunAsync(command, TimeSpan.FromSeconds(10), cancel);
        if (!result.Ok)
        {
            throw new DemoException($"{string.Join(' ', command)}: {result.LastLine}");
        }
    }

    /// <summary>Pings; gives the smallest round trip in milliseconds, or why there is none.</summary>
    public static async Task<PingResult> PingAsync(Node from, Node to, int count, CancellationToken cancel)
    {
        // -w: until so many are answered. By itself ping waits for the last answer no longer than an interval, and on a busy machine it may be late.
        string[] command = ["ping", "-n", "-c", $"{count}", "-i", "0.02", "-w", "2", $"{to.Address}"];
        ToolResult result = await RunAsync(In(from, command), TimeSpan.FromSeconds(3 + count), cancel);
        return ParsePing(result, count);
    }

    /// <summary>What <c>ping</c> printed of so many requests, and of those that it sent while it waited for their answers.</summary>
    public static PingResult ParsePing(ToolResult result, int count)
    {
        ILookup<int, double> answers = PingAnswers().Matches(result.Output).ToLookup(m => int.Parse(m.Groups[1].Value, CultureInfo.InvariantCulture), m => Number(m.Groups[2].Value));
        if (answers.Count == 0)
        {
            return new PingResult(null, result.Output.Contains(" 0 received", StringComparison.Ordinal) ? "no answer" : result.LastLine);
        }
        int answered = Enumerable.Range(1, count).Count(answers.Contains);
        return new PingResult(answers.SelectMany(a => a).Min(), answered == count ? null : $"{answered} of {count} answered");
    }

    /// <summary>One TCP stream from a node to another; gives what arrived in bits per second.</summary>
    public static async Task<IperfResult> IperfAsync(Node from, Node to, int seconds, CancellationToken cancel)
    {
        // -1: the server ends after one client. Its own report is not needed, only that it listens.
        using Process server = Start(In(to, "iperf3", "-s", "-1", "--forceflush"));
        try
        {
            while (await server.StandardOutput.ReadLineAsync(cancel) is { } line && !line.Contains("listening", StringComparison.Ordinal))
            {
            }
            string[] client = ["iperf3", "-c", $"{to.Address}", "-t", $"{seconds}", "-J"];
            ToolResult result = await RunAsync(In(from, client), TimeSpan.FromSeconds(seconds + 10), cancel);
            return ParseIperf(result);
        }
        finally
        {
            if (!server.HasExited)
            {
                server.Kill();
            }
        }
    }

    public static IperfResult ParseIperf(ToolResult result)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(result.Output);
            JsonElement root = document.RootElement;
            if (root.TryGetProperty("error", out JsonElement error))
            {
                return new IperfResult(0, 0, error.GetString());
            }
            JsonElement end = root.GetProperty("end");
            return new IperfResult(
                end.GetProperty("sum_received").GetProperty("bits_per_second").GetDouble(),
                end.GetProperty("sum_sent").TryGetProperty("retransmits", out JsonElement resent) ? resent.GetInt64() : 0,
                null);
        }
        catch (Exception e) when (e is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            return new IperfResult(0, 0, result.LastLine);
        }
    }

    /// <summary>So many requests, each by a connection of its own.</summary>
    public static async Task<WebAnswers> CurlAsync(Node from, string url, int count, CancellationToken cancel)
    {
        // "/[1-20]" makes 20 requests of it.
        string[] command = ["curl", "-sS", "-m", "5", $"{url}[1-{count}]"];
        ToolResult result = await RunAsync(In(from, command), TimeSpan.FromSeconds(10), cancel);
        string[] lines = result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        return new WebAnswers(lines, lines.Length == count ? null : $"{lines.Length} of {count} requests were answered: {result.LastLine}");
    }

    private static double Number(string text) => double.Parse(text, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"icmp_seq=(\d+) ttl=.*time=([0-9.]+) ms")]
    private static partial Regex PingAnswers();
}

/// <param name="Milliseconds">The smallest round trip.</param>
/// <param name="Problem">Null when every request was answered.</param>
internal sealed record PingResult(double? Milliseconds, string? Problem);

/// <param name="BitsPerSecond">Received payload.</param>
/// <param name="Retransmits">TCP segments sent again.</param>
/// <param name="Problem">Null when it went well.</param>
internal sealed record IperfResult(double BitsPerSecond, long Retransmits, string? Problem)
{
    public string Figure => $"{BitsPerSecond / 1e9:0.00} Gb/s";
}

/// <param name="Lines">What servers answered: name and client's address.</param>
/// <param name="Problem">Null when every request was answered.</param>
internal sealed record WebAnswers(IReadOnlyList<string> Lines, string? Problem)
{
    /// <summary>How many answers came from each server: "web1 9, web2 11".</summary>
    public string Figure => string.Join(", ", Lines.Select(l => l.Split(' ')[0]).CountBy(name => name).OrderBy(c => c.Key).Select(c => $"{c.Key} {c.Value}"));

    /// <summary>Addresses that servers saw the client by.</summary>
    public IEnumerable<string> Clients => Lines.Select(l => l.Split(' ')[^1]).Distinct();
}

/// <summary>Ends the demo with a message for people.</summary>
internal sealed class DemoException(string message) : Exception(message);
