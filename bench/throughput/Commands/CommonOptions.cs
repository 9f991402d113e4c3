using System.CommandLine;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>The options that every benchmark has.</summary>
internal sealed class CommonOptions
{
    private const int Runs = 5, QuickRuns = 2, Seconds = 3, QuickSeconds = 1;

    private readonly Option<int?> _runs = new("--runs") { Description = $"Runs of each program, in turn [default: {Runs}]" };
    private readonly Option<int?> _seconds = new("--seconds") { Description = $"Seconds measured per run [default: {Seconds}]" };
    private readonly Option<int> _window = new("--window")
    {
        Description = "With --no-peers: measure in windows of so many milliseconds",
        DefaultValueFactory = _ => 1000,
    };
    private readonly Option<int[]> _cores = new("--cores")
    {
        Description = "CPUs that forward, comma-separated, the first for one worker [default: from the last one down]",
        CustomParser = NumberList.Parser(0, 8191),
    };
    private readonly Option<bool> _quick = new("--quick") { Description = $"A first impression: {QuickRuns} runs of {QuickSeconds} s, unless told otherwise" };
    private readonly Option<string[]> _engines = new("--engine")
    {
        Description = "Engine program, as PATH or NAME=PATH; repeat it to compare builds",
        DefaultValueFactory = _ => [],
    };
    private readonly Option<bool> _alone = new("--no-peers") { Description = "Only our programs, without others to compare them with" };
    private readonly Option<bool> _hugepages = new("--hugepages") { Description = "Packet buffers from hugepages, for all programs alike" };
    private readonly Option<bool> _reserve = new("--reserve-hugepages") { Description = "Reserve the hugepages that are missing, and give them back (as root)" };
    private readonly Option<string?> _output = new("--output") { Description = "Where the report goes, without .json and .html [default: out/bench/NAME]" };

    public void AddTo(Command command)
    {
        foreach (Option option in (Option[])[_runs, _seconds, _window, _cores, _quick, _engines, _alone, _hugepages, _reserve, _output])
        {
            command.Add(option);
        }
    }

    public CommonValues Read(ParseResult parsed) => new()
    {
        Runs = parsed.GetValue(_runs) ?? (parsed.GetValue(_quick) ? QuickRuns : Runs),
        Seconds = parsed.GetValue(_seconds) ?? (parsed.GetValue(_quick) ? QuickSeconds : Seconds),
        Window = TimeSpan.FromMilliseconds(parsed.GetValue(_window)),
        Cores = parsed.GetValue(_cores) ?? [],
        Quick = parsed.GetValue(_quick),
        Engines = parsed.GetValue(_engines)!,
        Peers = !parsed.GetValue(_alone),
        Hugepages = parsed.GetValue(_hugepages) || parsed.GetValue(_reserve),
        ReserveHugepages = parsed.GetValue(_reserve),
        Output = parsed.GetValue(_output),
    };
}

/// <summary>What the user asked of every benchmark; see <see cref="CommonOptions"/>.</summary>
internal sealed record CommonValues
{
    public required int Runs { get; init; }
    public required int Seconds { get; init; }
    public required TimeSpan Window { get; init; }
    public required IReadOnlyList<int> Cores { get; init; }
    public required bool Quick { get; init; }
    public required IReadOnlyList<string> Engines { get; init; }
    public required bool Peers { get; init; }
    public required bool Hugepages { get; init; }
    public required bool ReserveHugepages { get; init; }
    public required string? Output { get; init; }
}
