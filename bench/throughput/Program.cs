using System.CommandLine;
using Dataplane.ThroughputBench.Commands;

// Throughput of the switch beside other switches: same ports, same packets, same core, run by run in turn. It measures and
// reports; it never judges a time, since machines differ. `./build.sh bench bridge`, `overlay` and `control` run it.

var root = new RootCommand("Measures how fast the dataplane forwards, beside other switches on the same ports and packets.")
{
    BridgeCommand.Create(),
    OverlayCommand.Create(),
    ControlCommand.Create(),
};
return root.Parse(args).Invoke();
