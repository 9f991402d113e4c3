using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;
using Google.Protobuf;
using Spectre.Console;

namespace Dataplane.Control.Cli;

/// <summary>Everything that commands print.</summary>
internal static class Output
{
    /// <summary>Writes <c>error: …</c> to standard error.</summary>
    public static void Error(string message) => Console.Error.WriteLine("error: " + message);

    public static void Line(string text) => Console.Out.WriteLine(text);

    /// <summary>Prints a message as JSON or YAML; false when a table was asked for, which is the caller's to print.</summary>
    public static bool TryPrint(OutputFormat format, IMessage message, string? kind = null)
    {
        switch (format)
        {
            case OutputFormat.Json:
                Line(MessageWriter.ToJson(message, kind: kind));
                return true;
            case OutputFormat.Yaml:
                Console.Out.Write(MessageWriter.ToYaml(message, kind));
                return true;
            default:
                return false;
        }
    }

    /// <summary>Prints a table without a frame; nothing of it is cut off when the output is not a terminal.</summary>
    /// <param name="headers">Columns; one that begins with "&gt;" is aligned to the right.</param>
    /// <param name="rows">Texts without mark-up.</param>
    public static void Table(string[] headers, IEnumerable<string[]> rows)
    {
        var table = new Table().NoBorder();
        foreach (string header in headers)
        {
            var column = new TableColumn(Markup.Escape(header.TrimStart('>'))) { Padding = new Padding(0, 0, 2, 0), NoWrap = true };
            table.AddColumn(header.StartsWith('>') ? column.RightAligned() : column);
        }
        foreach (string[] row in rows)
        {
            table.AddRow(row.Select(cell => new Text(cell)));
        }
        Terminal.Write(table);
    }

    /// <summary>Standard output, as wide as needed when it is not a terminal.</summary>
    public static IAnsiConsole Terminal => CreateTerminal();

    public static string Number(ulong value) => value.ToString("N0", CultureInfo.InvariantCulture);

    /// <summary>"up", "err-disabled".</summary>
    public static string State(PortStatus.Types.State state) => state switch
    {
        PortStatus.Types.State.ErrDisabled => "err-disabled",
        _ => state.ToString().ToLowerInvariant(),
    };

    public static string State(ServiceStatus.Types.State state) => state switch
    {
        ServiceStatus.Types.State.NoBackends => "no-backends",
        _ => state.ToString().ToLowerInvariant(),
    };

    /// <summary>A value of an enumeration as people write it.</summary>
    public static string Word(Enum value) => value.ToString().ToLowerInvariant();

    /// <summary>"created network "blue"", with what an update changes below it.</summary>
    public static void Changes(IEnumerable<Change> changes, bool dryRun)
    {
        foreach (Change change in changes)
        {
            string action = change.Action.ToString().ToLowerInvariant();
            string would = dryRun && change.Action != Change.Types.Action.Unchanged ? " (dry run)" : "";
            Line($"{change.Resource.Kind.Text} \"{change.Resource.Name}\" {action}{would}");
            foreach (string difference in change.Differences)
            {
                Line($"  {difference}");
            }
        }
    }

    private static IAnsiConsole CreateTerminal()
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Out) });
        if (Console.IsOutputRedirected)
        {
            console.Profile.Width = 1000;
            console.Profile.Capabilities.Ansi = false;
        }
        return console;
    }
}
