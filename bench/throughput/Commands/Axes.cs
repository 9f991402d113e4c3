using System.CommandLine;
using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// What every benchmark that forwards can vary besides the sizes of its tables: the sizes of the packets, the burst, the number of workers. One thing is
/// varied at a time; the others are as in the first values of their lists.
/// </summary>
internal sealed class Axes
{
    private readonly Option<PacketSizes[]> _packets = new("--packets")
    {
        Description = "Sizes: 64 (the smallest frame), imix, or of the layer-3 packet [default: 64, imix, 1500, 9000]",
        CustomParser = argument => [.. NumberList.Texts(argument).Select(text =>
        {
            if (PacketSizes.Parse(text) is not { } sizes)
            {
                argument.AddError($"\"{text}\" is neither a size from 64 to 9000 nor imix");
                return PacketSizes.Smallest;
            }
            return sizes;
        })],
    };
    private readonly Option<int[]> _bursts = new("--bursts")
    {
        Description = $"Packets received at once [default: {RunSettings.FullBurst}, 16, 4, 1]",
        CustomParser = NumberList.Parser(1, RunSettings.FullBurst),
    };
    private readonly Option<int[]> _workers = new("--workers")
    {
        Description = "Workers, each with queues of its own [default: 1, and as many as there are CPUs]",
        CustomParser = NumberList.Parser(1, 32),
    };

    /// <param name="command">Gets the options.</param>
    public Axes(Command command)
    {
        command.Add(_packets);
        command.Add(_bursts);
        command.Add(_workers);
    }

    /// <summary>What the user has asked for.</summary>
    /// <exception cref="BenchException">There are too few CPUs for it.</exception>
    public AxisValues Read(BenchRun run, ParseResult options)
    {
        AxisValues values = AxisValues.Of(run.Settings, options.GetValue(_packets), options.GetValue(_bursts), options.GetValue(_workers));
        return values.Workers.Max() <= run.Cores.Count
            ? values
            : throw new BenchException($"{values.Workers.Max()} workers need as many CPUs; there are {run.Cores.Count}");
    }
}

/// <summary>The values of <see cref="Axes"/>.</summary>
/// <param name="Usual">How programs are run as a rule.</param>
/// <param name="Packets">Sizes.</param>
/// <param name="Bursts">Packets received at once.</param>
/// <param name="Workers">Numbers of workers.</param>
internal sealed record AxisValues(RunSettings Usual, IReadOnlyList<PacketSizes> Packets, IReadOnlyList<int> Bursts, IReadOnlyList<int> Workers)
{
    /// <summary>The table whose other sizes, bursts and workers are measured as a rule: with so many entries, or as many as the first.</summary>
    public const int UsualSize = 1_000;

    private static readonly string[] s_packets = ["64", "imix", "1500", "9000"];

    /// <summary>The same, but only those that the user has asked for vary.</summary>
    public AxisValues Named { get; private init; } = null!;

    /// <summary>The first values.</summary>
    public RunSettings Settings => Usual with { Burst = Bursts[0], Workers = Workers[0] };

    /// <inheritdoc cref="Settings"/>
    public PacketSizes Size => Packets[0];

    /// <summary>With the default where nothing was asked for.</summary>
    public static AxisValues Of(RunSettings usual, PacketSizes[]? packets, int[]? bursts, int[]? workers)
    {
        var all = new AxisValues(usual,
            packets is { Length: > 0 } ? packets : [.. s_packets.Select(text => PacketSizes.Parse(text)!)],
            bursts is { Length: > 0 } ? bursts : [RunSettings.FullBurst, 16, 4, 1],
            workers is { Length: > 0 } ? workers : [.. new[] { 1, usual.Cores.Count }.Distinct()]);
        return all with
        {
            Named = all with
            {
                Packets = packets is { Length: > 0 } ? all.Packets : [all.Packets[0]],
                Bursts = bursts is { Length: > 0 } ? all.Bursts : [all.Bursts[0]],
                Workers = workers is { Length: > 0 } ? all.Workers : [all.Workers[0]],
            },
        };
    }

    /// <summary>Of the sizes of a table, the one whose points <see cref="Around"/> are measured.</summary>
    public static int UsualOf(IReadOnlyList<int> sizes) => sizes.Contains(UsualSize) ? UsualSize : sizes[0];

    /// <summary>A workload with the first values.</summary>
    public Point Base(string label, Func<PacketSizes, Scenario> scenario) => new(label, scenario(Size), Settings);

    /// <summary>The same workload with each of the other values.</summary>
    /// <param name="label">Says which workload it is.</param>
    /// <param name="scenario">The workload.</param>
    /// <param name="isOnlyOne">The table shows no other workload: rows need not say which.</param>
    public IEnumerable<Point> Around(string label, Func<PacketSizes, Scenario> scenario, bool isOnlyOne = false)
    {
        string which = isOnlyOne ? "" : $"{label}, ";
        Point[] points =
        [
            .. Packets.Skip(1).Select(p => new Point($"{which}{p.Name}{(p.Name == "imix" ? "" : " bytes")}", scenario(p), Settings)),
            .. Bursts.Skip(1).Select(n => new Point(Text($"{which}bursts of {n}"), scenario(Size), Settings with { Burst = n })),
            .. Workers.Skip(1).Select(n => new Point(Text($"{which}{n} worker{(n == 1 ? "" : "s")}"), scenario(Size), Settings with { Workers = n })),
        ];
        return points.Select(point => point with { Of = isOnlyOne ? label : null });
    }

    /// <summary>A workload with each size of its table, and the other values at one of them.</summary>
    /// <param name="sizes">Sizes of the table.</param>
    /// <param name="label">Says the size.</param>
    /// <param name="scenario">The workload.</param>
    /// <param name="isOnlyOne">See <see cref="Around"/>.</param>
    public List<Point> Points(IReadOnlyList<int> sizes, Func<int, string> label, Func<int, PacketSizes, Scenario> scenario, bool isOnlyOne = false)
    {
        int usual = UsualOf(sizes);
        return [.. sizes.Select(n => Base(label(n), p => scenario(n, p))), .. Around(label(usual), p => scenario(usual, p), isOnlyOne)];
    }

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
