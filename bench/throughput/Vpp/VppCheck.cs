using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>
/// Whether what leaves was translated, by what VPP's tracer sees of some packets: its counters would not tell it from what is passed on as it came.
/// The tracer may lose sight of answers on their way; they are looked at where it shows them.
/// </summary>
internal static class VppCheck
{
    /// <summary>Packets that are traced: some vectors, of each port one at least.</summary>
    private const int Packets = 600;

    private static readonly TimeSpan s_time = TimeSpan.FromMilliseconds(50);

    /// <param name="vpp">VPP, with traffic from the first port, and from the second unless it counts connections.</param>
    /// <param name="workload">The services.</param>
    /// <param name="ports">Its ports. Where the backends are behind a tunnel, nothing need be seen.</param>
    /// <param name="command">What it is told once it traces.</param>
    /// <param name="cancel">The user has enough.</param>
    /// <exception cref="BenchException">Something left as it should not, or nothing did to the backends.</exception>
    public static void Translated(VppProcess vpp, IVppServiceWorkload workload, IReadOnlyList<string> ports, string? command, CancellationToken cancel)
    {
        (string clients, string backends) = workload.VppSides(ports);
        vpp.Do([$"trace add {VppSubject.Input} {Packets}", .. command is null ? Array.Empty<string>() : [command]]);
        cancel.WaitHandle.WaitOne(s_time);
        string trace = vpp.Ask($"show trace max {Packets}");
        vpp.Do(["clear trace"]);
        var servers = workload.VppServices.Select(service => (service.BackendAddress, service.BackendPort)).ToHashSet();
        var services = workload.VppServices.Select(service => (service.Address, service.Port)).ToHashSet();
        if (Leaving(backends, flow => servers.Contains((flow.Destination, flow.DestinationPort))) == 0 && ports.Contains(backends))
        {
            throw vpp.Failure($"shows no packet that leaves by {backends}: {VppReading.Errors(vpp)}");
        }
        Leaving(clients, flow => services.Contains((flow.Source, flow.SourcePort)));

        int Leaving(string port, Func<VppFlow, bool> isTranslated)
        {
            IReadOnlyList<VppFlow> flows = VppOutput.Traced(trace, VppSubject.Output(port));
            if (flows.Any(flow => !isTranslated(flow)))
            {
                throw vpp.Failure($"does not translate {flows.First(flow => !isTranslated(flow))}: {VppReading.Errors(vpp)}");
            }
            return flows.Count;
        }
    }
}
