using System.Globalization;
using Dataplane.ThroughputBench.Commands;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Containers;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The part of a report about two containers. A row is a figure, a column what connects them: so ratios stand side by side.</summary>
internal static class TapSection
{
    public static Section Of(IReadOnlyList<TapResult> results, CommonValues options, string title)
    {
        TapResult ours = results[0];
        (string Name, TapFigure Figure, string Format, double Unit)[] rows =
        [
            ("1 TCP stream, Gb/s", TapFigure.TcpOne, "0.0", 1),
            ("1 TCP stream back, Gb/s", TapFigure.TcpOneBack, "0.0", 1),
            (Text($"{ours.Streams} TCP streams, Gb/s"), TapFigure.TcpMany, "0.0", 1),
            (Text($"{ours.Streams} TCP streams back, Gb/s"), TapFigure.TcpManyBack, "0.0", 1),
            ("64-byte UDP, 1,000 packets/s received", TapFigure.Udp, "0", 1e3),
            ("64-byte UDP, 1,000 packets/s sent", TapFigure.UdpSent, "0", 1e3),
            ("round trip p50, µs", TapFigure.RoundTripMedian, "0.0", 1),
            ("round trip p99, µs", TapFigure.RoundTripP99, "0.0", 1),
            ("round trip p99.9, µs", TapFigure.RoundTripP999, "0.0", 1),
            ("round trip max, µs", TapFigure.RoundTripWorst, "0", 1),
            ("idle, % of a CPU", TapFigure.IdleCpu, "0.0", 0.01),
        ];
        return new Section
        {
            Title = title,
            Conditions = Text($"{options.Runs} runs of {options.Seconds} s per figure, in turn; iperf3 for TCP, sendmmsg and recvmmsg for UDP, one byte and one back over TCP for round trips. The switches run with their defaults. Ratios are ours over theirs."),
            Columns = ["", .. results.Select(r => $"{r.Name}\nbest | median | spread"), .. results.Skip(1).Select(r => $"× {r.Name}\nbest | median")],
            Rows =
            [
                .. rows.Select(row => (IReadOnlyList<string>)
                [
                    row.Name,
                    .. results.Select(r => r[row.Figure] is var s ? $"{Number(s.Best / row.Unit, row.Format)} | {Number(s.Median / row.Unit, row.Format)} | {Number(s.Spread * 100, "0'%'")}" : ""),
                    .. results.Skip(1).Select(r => row.Figure == TapFigure.IdleCpu ? "" : Ratio(ours[row.Figure], r[row.Figure])),
                ]),
            ],
            Charts =
            [
                Chart("TCP", "Gb/s", rows[..4]), Chart("64-byte UDP packets received", "1,000 packets/s", rows[4..5]), Chart("Round trips", "µs", rows[6..8]),
            ],
            Figures = results.Select(r => new { r.Name, r.Streams, Values = r.Values.ToDictionary(v => v.Key.ToString(), v => v.Value) }),
        };

        BoxChart Chart(string title, string unit, (string Name, TapFigure Figure, string Format, double Unit)[] figures) => new(
            title, unit, [.. figures.Select(f => f.Name.Split(',')[0])],
            [.. results.Select(r => (r.Name, (IReadOnlyList<Summary?>)[.. figures.Select(f => (Summary?)r[f.Figure].Times(1 / f.Unit))]))]);
    }

    private static string Ratio(Summary ours, Summary theirs) => $"{Number(ours.Best / theirs.Best, "0.00")} | {Number(ours.Median / theirs.Median, "0.00")}";

    private static string Number(double value, string format) => value.ToString(format, CultureInfo.InvariantCulture);

    private static string Text(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
