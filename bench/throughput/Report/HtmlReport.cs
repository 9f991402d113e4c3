using System.Globalization;
using System.Net;
using System.Text;

namespace Dataplane.ThroughputBench.Report;

/// <summary>The report as one page that needs nothing besides: no script, no other file.</summary>
public static class HtmlReport
{
    private const string Style = """
        body { font: 15px/1.45 system-ui, sans-serif; max-width: 76em; margin: 2em auto; padding: 0 1em; color: #222; background: #fff }
        h1 { font-size: 1.5em } h2 { font-size: 1.2em; margin-top: 2.2em }
        table { border-collapse: collapse; margin: 1em 0; font-variant-numeric: tabular-nums }
        th, td { border: 1px solid #ccc; padding: .25em .6em; text-align: right; white-space: nowrap }
        th { background: #f3f3f3; vertical-align: bottom } th small { font-weight: normal; color: #666 }
        th:first-child, td:first-child { text-align: left } td.text { text-align: left } td.heading { background: #f9f9f9; font-weight: 600; text-align: left }
        dl { display: grid; grid-template-columns: max-content auto; gap: .1em 1em } dt { color: #666 } dd { margin: 0 }
        pre { overflow-x: auto; background: #f6f6f6; padding: .6em; font-size: 12px } .warning { color: #b00 } svg { max-width: 100%; height: auto }
        """;

    public static void Write(BenchReport report, string path)
    {
        var page = new StringBuilder();
        page.Append("<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Benchmarks</title>\n<style>\n").Append(Style).Append("\n</style></head><body>\n");
        page.Append("<h1>Benchmarks</h1>\n<dl>");
        foreach ((string name, string value) in Facts(report))
        {
            page.Append(CultureInfo.InvariantCulture, $"<dt>{Text(name)}</dt><dd>{Text(value)}</dd>\n");
        }
        page.Append("</dl>\n");
        foreach (Section section in report.Sections)
        {
            Append(page, section);
        }
        page.Append("</body></html>\n");
        File.WriteAllText(path, page.ToString());
    }

    private static IEnumerable<(string Name, string Value)> Facts(BenchReport report)
    {
        yield return ("command", report.Command);
        yield return ("when", string.Create(CultureInfo.InvariantCulture, $"{report.Started:yyyy-MM-dd HH:mm} to {report.Ended:HH:mm zzz}"));
        yield return ("CPU", string.Create(CultureInfo.InvariantCulture,
            $"{report.Machine.Cpu}, {report.Machine.Cpus} CPUs{(report.Machine.Hypervisor ? ", virtual" : "")}; time-stamp counter {report.Machine.TscHz / 1e9:0.000} GHz"));
        yield return ("system", $"{report.Machine.Distribution}, kernel {report.Machine.Kernel}; isolated CPUs: {(report.Machine.IsolatedCpus.Length == 0 ? "none" : report.Machine.IsolatedCpus)}"
            + $"; governor: {report.Machine.Governor ?? "not the kernel's"}; transparent hugepages: {report.Machine.TransparentHugepages}");
        if (report.Machine.Commit is { } commit)
        {
            yield return ("commit", commit);
        }
        foreach ((string name, string version) in report.Versions)
        {
            yield return (name, version);
        }
    }

    private static void Append(StringBuilder page, Section section)
    {
        page.Append(CultureInfo.InvariantCulture, $"<h2>{Text(section.Title)}</h2>\n<p>{Text(section.Conditions)}</p>\n");
        foreach (string note in section.Notes)
        {
            page.Append(CultureInfo.InvariantCulture, $"<p>{Text(note)}</p>\n");
        }
        foreach (string warning in section.Warnings)
        {
            page.Append(CultureInfo.InvariantCulture, $"<p class=\"warning\">{Text(warning)}</p>\n");
        }
        page.Append("<table><tr>");
        foreach (string column in section.Columns)
        {
            string[] lines = column.Split('\n', 2);
            page.Append(CultureInfo.InvariantCulture, $"<th>{Text(lines[0])}{(lines.Length > 1 ? $"<br><small>{Text(lines[1])}</small>" : "")}</th>");
        }
        page.Append("</tr>\n");
        foreach (IReadOnlyList<string> row in section.Rows)
        {
            page.Append("<tr>");
            if (row.Count == 1)
            {
                page.Append(CultureInfo.InvariantCulture, $"<td class=\"heading\" colspan=\"{section.Columns.Count}\">{Text(row[0])}</td>");
            }
            else
            {
                foreach (string cell in row)
                {
                    page.Append(CultureInfo.InvariantCulture, $"<td{(cell.Any(char.IsAsciiLetter) ? " class=\"text\"" : "")}>{Text(cell)}</td>");
                }
            }
            page.Append("</tr>\n");
        }
        page.Append("</table>\n");
        foreach (Chart chart in section.Charts)
        {
            page.Append(PlotSvg.Draw(chart)).Append('\n');
        }
        if (section.Commands.Count > 0)
        {
            page.Append(CultureInfo.InvariantCulture, $"<details><summary>How the programs were started</summary><pre>{Text(string.Join('\n', section.Commands))}</pre></details>\n");
        }
    }

    private static string Text(string text) => WebUtility.HtmlEncode(text);
}
