using System.CommandLine;
using Dataplane.Control.Cli.V1;
using Dataplane.Control.Doctor;
using Dataplane.Control.Engine;
using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane doctor</c>: what the machine lacks, and the commands that mend it. No daemon is needed.</summary>
internal static class DoctorCommand
{
    private static readonly Argument<string[]> Devices = new("DEVICE") { Description = "Cards that ports are to have, by PCI address or interface; none for a switch of TAP devices", Arity = ArgumentArity.ZeroOrMore };
    private static readonly Option<int> Workers = new("--workers") { Description = "As for `run`", HelpName = "N", DefaultValueFactory = _ => 1 };
    private static readonly Option<string> Cores = new("--cores") { Description = "As for `run`", HelpName = "LIST" };
    private static readonly Option<int> Memory = new("--memory") { Description = "As for `run`", HelpName = "MIB", DefaultValueFactory = _ => new DoctorPlan().Memory };
    private static readonly Option<int> Mtu = new("--mtu") { Description = "As for `port add`", HelpName = "BYTES", DefaultValueFactory = _ => new DoctorPlan().Mtu };
    private static readonly Option<string> Engine = new("--engine") { Description = "The engine's executable (default: $DATAPLANE_ENGINE, or beside this program)", HelpName = "PATH" };

    public static Command Build() => new Command("doctor", "Examine this machine before the switch is started: what it lacks, and the command that mends it; changes nothing")
    {
        Devices, Workers, Cores, Memory, Mtu, Engine, Options.Output,
    }.Does((parsed, _) => Task.FromResult(Run(parsed)))
        .WithExamples(
            "dataplane doctor                                                for TAP devices; what cards would need is a warning",
            "sudo dataplane doctor 0000:03:02.0 --workers 2 --cores 2-3 --mtu 9000",
            "",
            "Exit codes: 0 no problem (warnings there may be), 1 a problem.");

    private static int Run(ParseResult parsed)
    {
        DoctorPlan plan = Read(parsed);
        DpdkAnswer dpdk = DpdkAnswer.Ask(parsed.GetValue(Engine) ?? EngineCommand.Find(out _));
        DoctorReport report = new MachineDoctor(SystemFiles.Machine, new HostNetwork(), dpdk).Examine(plan);
        if (!Output.TryPrint(parsed.GetValue(Options.Output), report))
        {
            Output.Table(["", "CHECK", "OF", "FOUND"], report.Findings.Select(f => new[] { Output.Word(f.Level), f.Check, f.About, f.Text }));
            Finding[] open = [.. report.Findings.Where(f => f.Fix.Length > 0)];
            if (open.Length > 0)
            {
                Output.Line("");
                foreach (Finding finding in open)
                {
                    Output.Line($"{finding.Check}{(finding.About.Length > 0 ? $" {finding.About}" : "")}: {finding.Fix}");
                }
            }
        }
        return report.Ok ? ExitCode.Success : ExitCode.Failed;
    }

    private static DoctorPlan Read(ParseResult parsed)
    {
        try
        {
            return new DoctorPlan
            {
                Devices = [.. parsed.GetRequiredValue(Devices).Select(d => DeviceCommands.Resolve(SystemFiles.Machine, d))],
                Workers = parsed.GetValue(Workers),
                Cores = parsed.GetValue(Cores) is { } cores ? CpuAffinity.Parse(cores) : [],
                Memory = parsed.GetValue(Memory),
                Mtu = parsed.GetValue(Mtu),
            };
        }
        catch (FormatException e)
        {
            throw new CommandException(ExitCode.Usage, $"--cores: {e.Message}");
        }
    }
}
