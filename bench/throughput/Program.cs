using Dataplane.ThroughputBench.Commands;

// Throughput of the switch beside other switches: same ports, same packets, same core, run by run in turn. It measures and
// reports; it never judges a time, since machines differ. `./build.sh bench` runs it.

return BenchHost.Commands(
    "Measures how fast the dataplane is, beside other switches on the same ports and packets. Without a name: everything.",
    [
        new BridgeBenchmark(),
        new LatencyBenchmark(),
        new UpdatesBenchmark(),
        new TapBenchmark(),
        new InstructionsBenchmark(),
        new OverlayBenchmark(),
        new ServiceBenchmark(),
        new ControlBenchmark(),
        new ServicesBenchmark(),
    ]).Parse(args).Invoke();
