namespace Dataplane.Control.Cli;

/// <summary>How a command ends.</summary>
internal static class ExitCode
{
    public const int Success = 0;

    /// <summary>The request was refused, or something went wrong.</summary>
    public const int Failed = 1;

    /// <summary>The command line, or a file it names, cannot be understood.</summary>
    public const int Usage = 2;

    /// <summary>No daemon runs.</summary>
    public const int NotRunning = 3;
}

/// <summary>Ends a command with a text on standard error.</summary>
internal sealed class CommandException(int exitCode, string message) : Exception(message)
{
    public int ExitCode { get; } = exitCode;
}
