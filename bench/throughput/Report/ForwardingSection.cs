using System.Globalization;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Subjects;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The part of a report about programs that forward packets as fast as they can.</summary>
public static class ForwardingSection
{
    /// <summary>Facts of a run that have a column, when the tables are written to meanwhile.</summary>
    private const string Updates = "updatesPerSecond", LongestPoll = "longestPollMicroseconds";

    /// <param name="title">What was measured.</param>
    /// <param name="tscHz">Frequency of the time-stamp counter.</param>
    /// <param name="results">The points.</param>
    public static Section Of(string title, ulong tscHz, IReadOnlyList<PointResult> results)
    {
        string[] names = [.. results.SelectMany(r => r.Subjects).Select(s => s.Subject.Name).Distinct()];
        // Each is compared with the others, but not with our own first build.
        string[] references = [.. names.Skip(1)];
        bool sizes = results.Any(r => r.Point.Scenario.Packets != results[0].Point.Scenario.Packets);
        bool workers = results.Any(r => r.Point.Settings.Workers > 1), scaling = results.Any(r => WithOneWorker(results, r) is not null);
        bool goals = results.Any(r => Goal(r.Point).HasValue);
        List<string> columns = ["", "switch", "Mpps\nbest | median", "spread"];
        Optional(sizes, "Gb/s\nmedian");
        columns.AddRange(["clocks/packet\nbest | median", "of these stages\nbest | median"]);
        Optional(goals, "wanted\nat most | aim");
        Optional(workers, "packets by worker");
        Optional(scaling, "× one worker\nbest | median");
        bool updates = results.SelectMany(r => r.Subjects).SelectMany(s => s.Runs).Any(run => run.Facts.ContainsKey(Updates));
        Optional(updates, "updates/s\nmedian");
        Optional(updates, "longest time between\ntwo polls, µs: least");
        columns.AddRange(references.Select(name => $"× {name}\nbest | median"));

        var rows = new List<IReadOnlyList<string>>();
        foreach (PointResult point in results)
        {
            foreach (SubjectResult subject in point.Subjects)
            {
                bool first = subject == point.Subjects[0];
                Scenario scenario = point.Point.Scenario;
                List<string> row =
                [
                    first ? point.Point.Label : "", subject.Subject.Name, Pair(subject.PacketsPerSecond, 1e6, "0.00"), Number(subject.PacketsPerSecond?.Spread * 100, "0'%'"),
                ];
                if (sizes)
                {
                    row.Add(Number(subject.PacketsPerSecond?.Median * scenario.Packets.Mean * 8 / 1e9, "0.0"));
                }
                row.AddRange([Pair(subject.Clocks(tscHz, point.Point.Settings.Workers), 1, "0"), Pair(subject.StageClocks, 1, "0.0")]);
                if (goals)
                {
                    row.Add(subject.Subject is EngineSubject && subject.StageClocks.HasValue && Goal(point.Point) is { } goal ? $"{goal.AtMost} | {goal.Aim}" : "");
                }
                if (workers)
                {
                    row.Add(subject.Runs[^1].Windows[^1].Shares is { } shares ? string.Join(" + ", shares.Select(s => Number(s * 100, "0'%'"))) : "");
                }
                if (scaling)
                {
                    row.Add(Ratio(subject, Of(subject.Subject, WithOneWorker(results, point))));
                }
                if (updates)
                {
                    row.AddRange([Number(Median(subject, Updates), "N0"), Number(Least(subject, LongestPoll), "N0")]);
                }
                row.AddRange(references.Select(name => Ratio(subject, point.Subjects.FirstOrDefault(s => s.Subject.Name == name))));
                rows.Add(row);
            }
        }
        RunSettings settings = results[0].Point.Settings;
        return new Section
        {
            Title = title,
            Conditions = string.Create(CultureInfo.InvariantCulture,
                $"Unless the row says otherwise: {Describe(results)}{(results.Select(r => r.Point.Of).FirstOrDefault(of => of is not null) is { } of ? $", {of}" : "")}; {settings.Runs} runs of {settings.Seconds} s in turn, in windows of {settings.Window.TotalSeconds:0.###} s; time-stamp counter {tscHz / 1e9:0.000} GHz; packet buffers on {(settings.Hugepages ? "hugepages" : "ordinary pages")}. Clocks of the stages are from the end of receive to the start of transmit; the spread is the distance of the quartiles over the median."),
            Columns = columns,
            Rows = rows,
            Charts = Charts(results, names),
            Commands = [.. results.SelectMany(r => r.Subjects).SelectMany(s => s.Runs.Take(1)).Select(run => run.CommandLine)],
            Warnings = [.. results.SelectMany(Warnings)],
            Figures = results.Select(point => ToJson(tscHz, point, WithOneWorker(results, point), references)).ToArray(),
        };

        void Optional(bool wanted, string column)
        {
            if (wanted)
            {
                columns.Add(column);
            }
        }
    }

    /// <summary>The same workload at one worker, of a point with several; null when that was not measured.</summary>
    private static PointResult? WithOneWorker(IReadOnlyList<PointResult> results, PointResult point) => point.Point.Settings.Workers == 1 ? null : results.FirstOrDefault(other =>
        other.Point.Settings.Workers == 1 && other.Point.Settings.Burst == point.Point.Settings.Burst && other.Point.Scenario.Name == point.Point.Scenario.Name
        && other.Point.Scenario.Size == point.Point.Scenario.Size && other.Point.Scenario.Packets == point.Point.Scenario.Packets);

    private static SubjectResult? Of(Subject subject, PointResult? point) => point?.Subjects.FirstOrDefault(s => s.Subject == subject);

    private static double? Median(SubjectResult subject, string fact) => Facts(subject, fact)?.Median;

    private static double? Least(SubjectResult subject, string fact) => Facts(subject, fact)?.Best;

    private static Summary? Facts(SubjectResult subject, string fact) =>
        Summary.OfLow(subject.Runs.Where(run => run.Facts.ContainsKey(fact)).Select(run => Convert.ToDouble(run.Facts[fact], CultureInfo.InvariantCulture)));

    private static Goal? Goal(Point point) => point.Scenario.GoalAt(point.Settings.Burst);

    private static string Describe(IReadOnlyList<PointResult> results)
    {
        RunSettings settings = results[0].Point.Settings;
        return string.Create(CultureInfo.InvariantCulture,
            $"packets of {results[0].Point.Scenario.Packets.Name} bytes, bursts of {settings.Burst}, {(settings.Workers == 1 ? "one core" : $"{settings.Workers} cores")}");
    }

    private static List<Chart> Charts(IReadOnlyList<PointResult> results, string[] names)
    {
        string[] labels = [.. results.Select(r => r.Point.Label)];
        List<Chart> charts = [new BoxChart("Packets per second", "Mpps", labels, Boxes(s => s.PacketsPerSecond?.Times(1e-6)))];
        if (results.Any(r => r.Subjects.Any(s => s.StageClocks.HasValue)))
        {
            charts.Add(new BoxChart("Clocks per packet in the stages", "clocks", labels, Boxes(s => s.StageClocks)));
        }
        return charts;

        (string, IReadOnlyList<Summary?>)[] Boxes(Func<SubjectResult, Summary?> value) =>
        [
            .. names.Select(name => (name, (IReadOnlyList<Summary?>)[.. results.Select(r => r.Subjects.FirstOrDefault(s => s.Subject.Name == name) is { } s ? value(s) : null)]))
                .Where(box => box.Item2.Any(v => v.HasValue)),
        ];
    }

    private static IEnumerable<string> Warnings(PointResult point) =>
        from subject in point.Subjects
        where subject.Runs.Any(run => run.Facts.TryGetValue("countersBalance", out object? balance) && balance is false)
        select $"{point.Point.Label}: the counters of {subject.Subject.Name} do not balance, see the JSON file";

    private static object ToJson(ulong tscHz, PointResult point, PointResult? oneWorker, string[] references) => new
    {
        point.Point.Label,
        Scenario = point.Point.Scenario.Name,
        point.Point.Scenario.Size,
        Packets = point.Point.Scenario.Packets.Name,
        Goal = Goal(point.Point),
        point.Point.Settings,
        Subjects = point.Subjects.Select(subject => new
        {
            subject.Subject.Name,
            subject.Subject.Version,
            subject.PacketsPerSecond,
            ClocksPerPacket = subject.Clocks(tscHz, point.Point.Settings.Workers),
            BusyClocksPerPacket = subject.BusyClocks,
            StageClocksPerPacket = subject.StageClocks,
            TimesOneWorker = Quotient(subject, Of(subject.Subject, oneWorker)),
            Ratios = references.Where(name => name != subject.Subject.Name)
                .Select(name => (Name: name, Quotient: Quotient(subject, point.Subjects.FirstOrDefault(s => s.Subject.Name == name))))
                .Where(entry => entry.Quotient.HasValue)
                .ToDictionary(entry => entry.Name, entry => entry.Quotient),
            subject.Runs,
        }),
    };

    /// <summary>Packets per second of one over those of another one.</summary>
    private readonly record struct Times(double Best, double Median);

    private static Times? Quotient(SubjectResult subject, SubjectResult? other) =>
        other != null && other != subject && subject.PacketsPerSecond is { } mine && other.PacketsPerSecond is { } theirs
            ? new Times(mine.Best / theirs.Best, mine.Median / theirs.Median)
            : null;

    private static string Ratio(SubjectResult subject, SubjectResult? other) =>
        Quotient(subject, other) is { } times ? $"{Number(times.Best, "0.00")} | {Number(times.Median, "0.00")}" : "";

    private static string Pair(Summary? summary, double unit, string format) =>
        summary is { } s ? $"{Number(s.Best / unit, format)} | {Number(s.Median / unit, format)}" : "";

    private static string Number(double? value, string format) => value?.ToString(format, CultureInfo.InvariantCulture) ?? "";
}
