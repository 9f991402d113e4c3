using Dataplane.ThroughputBench.Harness;
using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;

namespace Dataplane.ThroughputBench.Report;

/// <summary>Draws charts as SVG, with OxyPlot: a page with them needs no other file and no script.</summary>
public static class PlotSvg
{
    private const double Width = 860, Height = 360;

    /// <summary>Of a group's width, how much its boxes take together.</summary>
    private const double GroupShare = 0.8;

    private static readonly OxyColor[] s_colours =
    [
        OxyColor.FromRgb(0x1F, 0x77, 0xB4), OxyColor.FromRgb(0xFF, 0x7F, 0x0E), OxyColor.FromRgb(0x2C, 0xA0, 0x2C), OxyColor.FromRgb(0xD6, 0x27, 0x28),
        OxyColor.FromRgb(0x94, 0x67, 0xBD), OxyColor.FromRgb(0x8C, 0x56, 0x4B), OxyColor.FromRgb(0xE3, 0x77, 0xC2), OxyColor.FromRgb(0x7F, 0x7F, 0x7F),
    ];

    /// <summary>The chart as an <c>svg</c> element.</summary>
    public static string Draw(Chart chart)
    {
        var plot = new PlotModel { Title = chart.Title, TitleFontSize = 14, DefaultColors = s_colours };
        plot.Legends.Add(new Legend { LegendPosition = LegendPosition.RightTop, LegendPlacement = LegendPlacement.Outside });
        Axis vertical = chart is LineChart { Logarithmic: true } ? new LogarithmicAxis() : new LinearAxis { Minimum = 0 };
        vertical.Position = AxisPosition.Left;
        vertical.Title = chart.Unit;
        vertical.MajorGridlineStyle = LineStyle.Dot;
        plot.Axes.Add(vertical);
        switch (chart)
        {
            case BoxChart boxes:
                Add(plot, boxes);
                break;
            case LineChart lines:
                Add(plot, lines);
                break;
        }
        string svg = new SvgExporter { Width = Width, Height = Height, IsDocument = false }.ExportToString(plot);
        return svg[svg.IndexOf("<svg", StringComparison.Ordinal)..];
    }

    private static void Add(PlotModel plot, BoxChart chart)
    {
        var groups = new CategoryAxis { Position = AxisPosition.Bottom };
        groups.Labels.AddRange(chart.Groups);
        plot.Axes.Add(groups);
        double width = GroupShare / chart.Boxes.Count;
        for (int s = 0; s < chart.Boxes.Count; s++)
        {
            (string name, IReadOnlyList<Summary?> values) = chart.Boxes[s];
            var series = new BoxPlotSeries { Title = name, Fill = s_colours[s % s_colours.Length], Stroke = OxyColors.Black, BoxWidth = 0.85 * width, WhiskerWidth = 0.5 };
            for (int group = 0; group < values.Count; group++)
            {
                if (values[group] is { } v)
                {
                    double x = group + ((s - ((chart.Boxes.Count - 1) / 2.0)) * width);
                    series.Items.Add(new BoxPlotItem(x, Math.Min(v.Best, v.Worst), v.Lower, v.Median, v.Upper, Math.Max(v.Best, v.Worst)));
                }
            }
            plot.Series.Add(series);
        }
    }

    private static void Add(PlotModel plot, LineChart chart)
    {
        plot.Axes.Add(new LinearAxis { Position = AxisPosition.Bottom, Title = chart.Horizontal, MajorGridlineStyle = LineStyle.Dot });
        foreach ((string name, IReadOnlyList<(double X, double Y)> points) in chart.Lines)
        {
            var series = new LineSeries { Title = name, MarkerType = MarkerType.Circle, MarkerSize = 3 };
            series.Points.AddRange(points.Select(p => new DataPoint(p.X, p.Y)));
            plot.Series.Add(series);
        }
    }
}
