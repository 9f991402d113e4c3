using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>How a benchmark that forwards packets is to be run; see <see cref="RunOptionSet"/>.</summary>
public sealed record RunOptions
{
    public required int Runs { get; init; }
    public required int Seconds { get; init; }
    public required int WindowMilliseconds { get; init; }
    public required int? Core { get; init; }
    public required IReadOnlyList<string> Engines { get; init; }
    public required bool Peers { get; init; }
    public required bool Hugepages { get; init; }
    public required bool ReserveHugepages { get; init; }
    public required string? Output { get; init; }
}

/// <summary>The options that all such benchmarks have.</summary>
internal sealed class RunOptionSet
{
    private readonly Option<int?> _runs = new("--runs") { Description = "Runs of each program, in turn [default: 5]" };
    private readonly Option<int?> _seconds = new("--seconds") { Description = "Seconds measured per run [default: 3]" };
    private readonly Option<int> _window = new("--window")
    {
        Description = "With --no-peers: measure in windows of so many milliseconds",
        DefaultValueFactory = _ => 1000,
    };
    private readonly Option<int?> _core = new("--core") { Description = "CPU that forwards [default: the last one]" };
    private readonly Option<bool> _quick = new("--quick") { Description = "A first impression: 2 runs of 1 second, unless told otherwise" };
    private readonly Option<string[]> _engine = new("--engine")
    {
        Description = "Engine program, as PATH or NAME=PATH; repeat it to compare builds",
        DefaultValueFactory = _ => [],
    };
    private readonly Option<bool> _alone = new("--no-peers") { Description = "Only the engine, without other programs" };
    private readonly Option<bool> _hugepages = new("--hugepages") { Description = "Packet buffers from hugepages, for all programs alike" };
    private readonly Option<bool> _reserve = new("--reserve-hugepages") { Description = "Reserve the hugepages that are missing, and give them back (as root)" };
    private readonly Option<string?> _output;

    /// <param name="name">Of the benchmark.</param>
    public RunOptionSet(string name) => _output = new Option<string?>("--output") { Description = $"JSON file [default: out/bench/{name}.json]" };

    public IEnumerable<Option> All => [_runs, _seconds, _window, _core, _quick, _engine, _alone, _hugepages, _reserve, _output];

    public RunOptions Read(ParseResult parsed) => new()
    {
        Runs = parsed.GetValue(_runs) ?? (parsed.GetValue(_quick) ? 2 : 5),
        Seconds = parsed.GetValue(_seconds) ?? (parsed.GetValue(_quick) ? 1 : 3),
        WindowMilliseconds = parsed.GetValue(_window),
        Core = parsed.GetValue(_core),
        Engines = parsed.GetValue(_engine)!,
        Peers = !parsed.GetValue(_alone),
        Hugepages = parsed.GetValue(_hugepages) || parsed.GetValue(_reserve),
        ReserveHugepages = parsed.GetValue(_reserve),
        Output = parsed.GetValue(_output),
    };

    /// <summary>An option that is a list of sizes.</summary>
    public static Option<int[]> Sizes(string name, string description, int[] standard, int least = 1, int most = 1 << 24) => new(name)
    {
        Description = description,
        CustomParser = argument => ParseNumbers(argument, least, most),
        DefaultValueFactory = _ => standard,
    };

    private static int[] ParseNumbers(ArgumentResult argument, int least, int most)
    {
        var numbers = new List<int>();
        foreach (string text in argument.Tokens.SelectMany(token => token.Value.Split(',', StringSplitOptions.TrimEntries)))
        {
            if (!int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) || number < least || number > most)
            {
                argument.AddError($"\"{text}\" is not a number from {least} to {most}");
            }
            numbers.Add(number);
        }
        return [.. numbers];
    }
}
