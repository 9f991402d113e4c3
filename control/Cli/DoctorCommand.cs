using System.CommandLine;

namespace Dataplane.Control.Cli;

internal static class DoctorCommand
{
    public static Command Build() => new Command("doctor", "x").Does((_, _) => Task.FromResult(0));
}
