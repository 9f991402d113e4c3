using Dataplane.Control.Cli.V1;
using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Doctor;

/// <summary>
/// Examines a machine before the switch is started on it. It reads and changes nothing; what it finds comes with the command that
/// mends it.
/// </summary>
/// <param name="files">The machine.</param>
/// <param name="network">What the host does with its interfaces.</param>
/// <param name="dpdk">DPDK as the engine finds it.</param>
internal sealed class MachineDoctor(SystemFiles files, IHostNetwork network, DpdkAnswer dpdk)
{
    public DoctorReport Examine(DoctorPlan plan)
    {
        var findings = new Findings(plan.WantsCards);
        List<PciFunction> cards = [.. plan.Devices.Select(d => PciFunction.Find(files, d)).OfType<PciFunction>()];
        new PrivilegeChecks(files, findings).Run();
        new CpuChecks(files, findings, plan, cards).Run();
        new MemoryChecks(files, findings, plan, cards).Run();
        new DriverChecks(files, findings, dpdk).Run();
        new CardChecks(files, network, findings, plan).Run();
        var report = new DoctorReport { Ok = findings.All.All(f => f.Level != Finding.Types.Level.Problem) };
        report.Findings.AddRange(findings.All);
        return report;
    }
}
