using System.Globalization;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>NAT44, endpoint-dependent: a static mapping for each service, whose backends are inside.</summary>
internal sealed class VppNat44 : VppTranslator
{
    public override IEnumerable<string> Commands(IVppServiceWorkload workload, IReadOnlyList<string> ports)
    {
        (string clients, string backends) = workload.VppSides(ports);
        return
        [
            string.Create(CultureInfo.InvariantCulture, $"nat44 plugin enable sessions {workload.VppConnections}"),
            $"set interface nat44 in {backends} out {clients}",
            .. workload.VppServices.Select(Mapping),
        ];
    }

    public override int Connections(VppProcess vpp) => VppOutput.Sessions(vpp.Ask("show nat44 summary"));

    /// <summary>The mappings have entries in the table of the sessions, and would go with them.</summary>
    public override void Empty(VppProcess vpp, IVppServiceWorkload workload, CancellationToken cancel) =>
        vpp.Do([.. workload.VppServices.Select(service => $"{Mapping(service)} del"), "clear nat44 ed sessions", .. workload.VppServices.Select(Mapping)]);

    private static string Mapping(VppService service) => string.Create(CultureInfo.InvariantCulture,
        $"nat44 add static mapping udp local {service.BackendAddress} {service.BackendPort} external {service.Address} {service.Port}");
}
