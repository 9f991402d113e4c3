using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Vpp;

/// <summary>
/// Whether what leaves was translated, by what VPP's tracer sees of some packets: its counters would not tell it from what is passed on as it came.
/// </summary>
internal static class VppCheck
{
    private const int Packets = 64;
    private static readonly TimeSpan s_time = TimeSpan.FromMilliseconds(50);

    /// <param name="vpp">VPP, with traffic.</param>
    /// <param name="workload">The services.</param>
    /// <param name="ports">Its ports. Where the backends are behind a tunnel, only what goes to clients can be seen.</param>
    /// <param name="command">What it is told once it traces.</param>
    /// <param name="cancel">The user has enough.</param>
    /// <exception cref="BenchException">Something left as it should not.</exception>
    public static void Translated(VppProcess vpp, IVppServiceWorkload workload, IReadOnlyList<string> ports, string? command, CancellationToken cancel)
    {
        (string clients, string backends) = workload.VppSides(ports);
        vpp.Ask($"trace add {VppSubject.Input} {Packets}");
        if (command is not null)
        {
            vpp.Do([command]);
        }
        cancel.WaitHandle.WaitOne(s_time);
        string trace = vpp.Ask($"show trace max {Packets}");
        vpp.Ask("clear trace");
        var services = workload.VppServices.Select(service => (service.Address, service.Port)).ToHashSet();
        var servers = workload.VppServices.Select(service => (service.BackendAddress, service.BackendPort)).ToHashSet();
        IReadOnlyList<VppFlow> there = ports.Contains(backends) ? VppOutput.Traced(trace, VppSubject.Output(backends)) : [];
        IReadOnlyList<VppFlow> back = VppOutput.Traced(trace, VppSubject.Output(clients));
        if (there.Count + back.Count == 0)
        {
            throw vpp.Failure($"shows no packet that leaves:\n{trace}");
        }
        foreach (VppFlow flow in there.Where(flow => !servers.Contains((flow.Destination, flow.DestinationPort))).Concat(back.Where(flow => !services.Contains((flow.Source, flow.SourcePort)))))
        {
            throw vpp.Failure($"does not translate {flow}: {VppReading.Errors(vpp)}");
        }
    }
}
