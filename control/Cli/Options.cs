using System.CommandLine;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Cli;

internal enum OutputFormat
{
    Table, Wide, Json, Yaml,
}

/// <summary>Options that many commands share.</summary>
internal static class Options
{
    public static Option<string> Instance { get; } = new("--instance", "-i")
    {
        Description = "Name of the instance",
        HelpName = "NAME",
        DefaultValueFactory = _ => Environment.GetEnvironmentVariable("DATAPLANE_INSTANCE") is { Length: > 0 } set ? set : InstancePaths.DefaultInstance,
        Recursive = true,
    };

    public static Option<OutputFormat> Output { get; } = new("--output", "-o")
    {
        Description = "How to print: table, wide, json or yaml; field names are those of the API",
        HelpName = "FORMAT",
        CustomParser = result => result.Tokens is [var token] && Enum.TryParse(token.Value, ignoreCase: true, out OutputFormat format) && !char.IsDigit(token.Value[0])
            ? format
            : Refuse<OutputFormat>(result, "-o takes table, wide, json or yaml"),
    };

    public static Option<bool> DryRun { get; } = new("--dry-run") { Description = "Check, and show what would change; change nothing" };

    public static Option<string> Network { get; } = new Option<string>("--network", "-n") { Description = "Name of the network", HelpName = "NETWORK" }.CompletesNames(Kind.Network);

    public static Option<string> Port { get; } = new Option<string>("--port", "-p") { Description = "Name of the port", HelpName = "PORT" }.CompletesNames(Kind.Port);

    public static Option<string[]> File { get; } = new("--file", "-f")
    {
        Description = "YAML or JSON file, directory of such files, or - for standard input",
        HelpName = "FILE",
        AllowMultipleArgumentsPerToken = false,
    };

    public static Argument<string> Name(string description) => new("NAME") { Description = description };

    /// <summary>The name of a resource that exists.</summary>
    public static Argument<string> Name(string description, Kind kind) => Name(description).CompletesNames(kind);

    /// <summary>Whether an option stands on the command line.</summary>
    public static bool IsGiven(ParseResult parsed, Option option) => parsed.GetResult(option) is { Implicit: false };

    private static T Refuse<T>(System.CommandLine.Parsing.ArgumentResult result, string message)
        where T : struct
    {
        result.AddError(message);
        return default;
    }
}
