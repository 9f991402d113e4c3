using Spectre.Console;

namespace Dataplane.ThroughputBench.Report;

/// <summary>A section of the report as a table in the terminal.</summary>
public static class TerminalReport
{
    /// <summary>A file or a pipe has no width of its own.</summary>
    private const int WidthOfFiles = 240;

    public static void Write(Section section)
    {
        if (!AnsiConsole.Profile.Out.IsTerminal)
        {
            AnsiConsole.Profile.Width = WidthOfFiles;
        }
        var table = new Table().Border(TableBorder.Rounded).Title(section.Title.EscapeMarkup());
        foreach (string column in section.Columns)
        {
            string[] lines = column.Split('\n', 2);
            string head = lines[0].EscapeMarkup() + (lines.Length > 1 ? $"\n[grey]{lines[1].EscapeMarkup()}[/]" : "");
            bool isText = section.Rows.All(row => row.Count <= table.Columns.Count || !double.TryParse(row[table.Columns.Count].Split(' ')[0], out _));
            table.AddColumn(isText ? new TableColumn(head) : new TableColumn(head).RightAligned());
        }
        foreach (IReadOnlyList<string> row in section.Rows)
        {
            table.AddRow(row.Count == 1 ? [new Markup($"[bold]{row[0].EscapeMarkup()}[/]")] : row.Select(cell => new Text(cell)));
        }
        AnsiConsole.Write(table);
        AnsiConsole.MarkupLine($"[grey]{section.Conditions.EscapeMarkup()}[/]");
        foreach (string note in section.Notes)
        {
            AnsiConsole.MarkupLine($"[grey]{note.EscapeMarkup()}[/]");
        }
        foreach (string warning in section.Warnings)
        {
            AnsiConsole.MarkupLine($"[red]{warning.EscapeMarkup()}[/]");
        }
        AnsiConsole.WriteLine();
    }
}
