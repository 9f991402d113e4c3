using System.CommandLine;
using System.Runtime;
using Dataplane.Host;
using Dataplane.Workers;

// The engine process: forwards packets between ports that the control process attaches over a unix socket. It is started by
// `dataplane run`, and can be started by hand to debug it.

var segment = new Option<string>("--segment") { Description = "Segment file, made by the control process", Required = true };
var socket = new Option<string>("--socket") { Description = "Unix socket to listen on for the control process", Required = true };
var pidFile = new Option<string?>("--pid-file") { Description = "Lock file: one engine per segment" };
var workers = new Option<int>("--workers") { Description = "Forwarding threads", DefaultValueFactory = _ => 1 };
var cores = new Option<string?>("--cores") { Description = "CPUs to pin the workers to, such as 2-3,5; not pinned without it" };
var busyPoll = new Option<bool>("--busy-poll") { Description = "Never sleep: lowest latency, a whole CPU per worker" };
var memory = new Option<int>("--memory") { Description = "Memory for packet buffers in MiB", DefaultValueFactory = _ => 256 };
var hugepages = new Option<bool>("--hugepages") { Description = "Take packet buffers from hugepages, and allow PCI devices" };
var distribute = new Option<bool>("--distribute") { Description = "Share the packets of ports with one receive queue among the workers, by their flows" };
var balance = new Option<bool>("--balance") { Description = "Move receive queues from busy workers to idle ones" };
var burst = new Option<int>("--burst") { Description = "Packets received at once, at most", DefaultValueFactory = _ => Worker.BurstSize };
var smallBuffers = new Option<int>("--small-buffers") { Description = "Packet buffers for ordinary packets", DefaultValueFactory = _ => 16_384 };
var bufferBytes = new Option<int>("--buffer-bytes") { Description = "Bytes of a packet in one of these", DefaultValueFactory = _ => 2048 };
var largeBuffers = new Option<int>("--large-buffers") { Description = "Packet buffers of 64 KiB", DefaultValueFactory = _ => 512 };
var session = new Option<bool>("--new-session") { Description = "Leave the terminal's process group, so that Ctrl-C there does not stop forwarding" };

var root = new RootCommand("The packet engine of the dataplane switch. Usually started by `dataplane run`.")
{
    segment, socket, pidFile, workers, cores, busyPoll, memory, hugepages, distribute, balance, burst, smallBuffers, bufferBytes, largeBuffers, session,
};
var dpdk = new Command("dpdk", "Print the release of DPDK that is there, or why it cannot be used");
dpdk.SetAction(_ => EngineProcess.PrintDpdk());
root.Add(dpdk);
root.SetAction(parsed =>
{
    // A collection would stop the workers: let garbage, of which there is next to none, pile up instead.
    GCSettings.LatencyMode = GCLatencyMode.SustainedLowLatency;
    return EngineProcess.Run(new EngineArguments
    {
        SegmentPath = parsed.GetValue(segment)!,
        SocketPath = parsed.GetValue(socket)!,
        PidFile = parsed.GetValue(pidFile),
        Workers = parsed.GetValue(workers),
        Cores = parsed.GetValue(cores),
        BusyPoll = parsed.GetValue(busyPoll),
        MemoryMegabytes = parsed.GetValue(memory),
        Hugepages = parsed.GetValue(hugepages),
        Distribute = parsed.GetValue(distribute),
        Balance = parsed.GetValue(balance),
        Burst = parsed.GetValue(burst),
        SmallBuffers = parsed.GetValue(smallBuffers),
        BufferBytes = parsed.GetValue(bufferBytes),
        LargeBuffers = parsed.GetValue(largeBuffers),
        NewSession = parsed.GetValue(session),
    });
});
return root.Parse(args).Invoke();
