using System.Globalization;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>
/// The plug-in cnat, which does kube-proxy's work in Calico's dataplane on VPP, and as that sets it up: a translation for each service, and its feature on every
/// interface, so that sessions are looked up where packets arrive, and answers are translated where they leave.
/// <para>
/// Nothing empties its table of sessions but age, by a scanner that looks at it for a tenth of a millisecond each time. Where its table is filled over and over, sessions
/// get old within a second or two, and the scanner runs only while nothing arrives.
/// </para>
/// </summary>
internal sealed class VppCnat : VppTranslator
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    public override IEnumerable<string> Sections(IVppServiceWorkload workload) =>
    [
        string.Create(CultureInfo.InvariantCulture,
            $"cnat {{ session-max {workload.VppConnections} {(workload.FillsConnections ? "session-max-age 1 session-cleanup-timeout 0.0001 scanner off" : "")} }}"),
    ];

    public override IEnumerable<string> Commands(IVppServiceWorkload workload, IReadOnlyList<string> ports)
    {
        (string clients, string backends) = workload.VppSides(ports);
        return
        [
            .. workload.VppServices.Select(service => string.Create(CultureInfo.InvariantCulture,
                $"cnat translation add default proto UDP vip {service.Address} {service.Port} to ->{service.BackendAddress} {service.BackendPort}")),
            $"set cnat feature {clients}", $"set cnat feature {backends}",
        ];
    }

    public override int Connections(VppProcess vpp) => VppOutput.Timestamps(vpp.Ask("show cnat timestamp"));

    public override void Empty(VppProcess vpp, IVppServiceWorkload workload, CancellationToken cancel)
    {
        vpp.Ask("test cnat scanner on");
        for (long end = Environment.TickCount64 + (long)s_patience.TotalMilliseconds; Connections(vpp) > 0; cancel.WaitHandle.WaitOne(TimeSpan.FromMilliseconds(20)))
        {
            cancel.ThrowIfCancellationRequested();
            if (Environment.TickCount64 > end)
            {
                throw vpp.Failure("keeps old sessions");
            }
        }
        vpp.Ask("test cnat scanner off");
    }
}
