using System.CommandLine;
using System.Globalization;
using System.Text.RegularExpressions;
using Dataplane.Memory;
using Dataplane.Tables;
using Dataplane.ThroughputBench.Harness;
using Dataplane.ThroughputBench.Machine;
using Dataplane.ThroughputBench.Report;
using Dataplane.ThroughputBench.Scenarios;
using Dataplane.ThroughputBench.Subjects;
using Dataplane.ThroughputBench.Traffic;

namespace Dataplane.ThroughputBench.Commands;

/// <summary>
/// <c>bench instructions</c>: how many instructions the stages execute for a packet, counted by callgrind over a fixed number of packets.
/// The figure does not depend on the machine's mood. The engine runs twice, with so many rounds of the same packets and with one;
/// the difference is what packets of known addresses cost.
/// </summary>
internal sealed partial class InstructionsBenchmark : Benchmark
{
    /// <summary>From the packets of a burst to the transmit buffers, and from there to the driver: functions of the engine, by their linker's names.</summary>
    private static readonly string[] s_stages = ["Dataplane_Engine_Dataplane_Stages_BridgeStage__Run", "Dataplane_Engine_Dataplane_Stages_OutputStage__Flush"];

    /// <summary>Of these instructions, the driver's.</summary>
    private const string Driver = "dps_eth_tx_burst";

    private readonly Option<int[]> _macs, _bursts;
    private readonly Option<int> _packets;

    public InstructionsBenchmark()
        : base("instructions", "Instructions per packet in the stages, counted by callgrind over a fixed run.")
    {
        _macs = Add(new Option<int[]>("--macs") { Description = "Addresses on each side", CustomParser = NumberList.Parser(1, 10_000), DefaultValueFactory = _ => [1, 1_000] });
        _bursts = Add(new Option<int[]>("--bursts") { Description = "Packets received at once", CustomParser = NumberList.Parser(1, RunSettings.FullBurst), DefaultValueFactory = _ => [RunSettings.FullBurst, 4] });
        _packets = Add(new Option<int>("--count") { Description = "Packets that are counted", DefaultValueFactory = _ => 100_000 });
    }

    public override void Measure(BenchRun run, ParseResult options)
    {
        if (ProgramPath.Find("valgrind") is null || ProgramPath.Find("objcopy") is null)
        {
            throw new BenchException("needs valgrind and objcopy (packages valgrind and binutils)");
        }
        EngineSubject engine = run.Engines()[0];
        string program = WithNames(engine.Program, run.Work.New("engine"));
        int packets = options.GetValue(_packets);
        var rows = new List<(string Label, int Macs, int Burst, double PerPacket)>();
        foreach (int macs in options.GetValue(_macs)!)
        {
            foreach (int burst in options.GetValue(_bursts)!)
            {
                int rounds = Math.Max(1, packets / macs);
                long once = Count(run, program, macs, burst, 1), all = Count(run, program, macs, burst, rounds + 1);
                double each = (all - once) / ((double)macs * rounds);
                string label = string.Create(CultureInfo.InvariantCulture, $"{macs:N0} MAC{(macs == 1 ? "" : "s")}, bursts of {burst}");
                rows.Add((label, macs, burst, each));
                BenchRun.Progress($"{label}: {each:0.0} instructions per packet");
            }
        }
        run.Version("valgrind", Tool.Run("valgrind", ["--version"]).Trim());
        run.Add(new Section
        {
            Title = "Instructions per packet in the bridge's stages",
            Conditions = string.Create(CultureInfo.InvariantCulture, $"64-byte packets of known addresses, {packets:N0} of them, counted by callgrind from the end of receive to the start of transmit."),
            Columns = ["", "instructions per packet"],
            Rows = [.. rows.Select(row => (IReadOnlyList<string>)[row.Label, row.PerPacket.ToString("0.0", CultureInfo.InvariantCulture)])],
            Figures = rows.Select(row => new { row.Macs, row.Burst, row.PerPacket }),
        });
    }

    /// <summary>The engine with the names of its functions, and without what else its debugging information says: valgrind cannot read all of that.</summary>
    private static string WithNames(string program, string directory)
    {
        string debug = program + ".dbg", copy = Path.Combine(directory, Path.GetFileName(program)), names = Path.Combine(directory, "names");
        if (!File.Exists(debug))
        {
            throw new BenchException($"{debug} is missing, which has the names of the engine's functions: build the engine with `./build.sh build`");
        }
        foreach (string file in Directory.EnumerateFiles(Path.GetDirectoryName(program)!, "*.so"))
        {
            File.Copy(file, Path.Combine(directory, Path.GetFileName(file)));
        }
        Tool.Run("objcopy", ["--strip-debug", debug, names]);
        Tool.Run("objcopy", ["--remove-section=.gnu_debuglink", $"--add-gnu-debuglink={names}", program, copy]);
        return copy;
    }

    /// <summary>Instructions of the stages for so many rounds of the packets.</summary>
    private static long Count(BenchRun run, string program, int macs, int burst, int rounds)
    {
        string directory = run.Work.New("count"), output = Path.Combine(directory, "callgrind.out");
        string file = Path.Combine(directory, "packets.pcap");
        MacPairs.Write(file, macs, side: 1, PacketSizes.Smallest, rounds * macs);
        // The port that only sends comes first: a packet for it must not be received before it is there.
        string[] devices = ["net_null0,no-rx=1", $"net_pcap0,rx_pcap={file}"];
        var context = new RunContext(new OneWayBridge(macs), run.Settings with { Burst = burst }, devices, directory);
        IReadOnlyList<string> valgrind = ["valgrind", "--tool=callgrind", "--fair-sched=yes", $"--callgrind-out-file={output}", "--collect-atstart=no", .. s_stages.Select(name => $"--toggle-collect={name}")];
        using (var engine = new RunningEngine(program, context, run.Cancel, valgrind))
        {
            engine.WaitForPackets((long)rounds * macs, run.Cancel);
        }
        long all = Total(File.ReadLines(output)), driver = Inclusive(Tool.Run("callgrind_annotate", ["--inclusive=yes", "--threshold=100", output]), Driver);
        Directory.Delete(directory, recursive: true);
        return all - driver;
    }

    /// <summary>The bridge with packets in one direction, whose destinations are static addresses.</summary>
    private sealed class OneWayBridge(int macs) : BridgeScenario(macs, PacketSizes.Smallest)
    {
        public override void Configure(SegmentWriter writer)
        {
            base.Configure(writer);
            for (int i = 0; i < Size; i++)
            {
                writer.SetStaticMac(MacTable.Key(Bridge, MacPairs.Address(0, i).Value), FirstPort, MacFlags.Static);
            }
        }
    }

    private static long Total(IEnumerable<string> lines) =>
        lines.Select(line => TotalLine().Match(line)).FirstOrDefault(m => m.Success) is { } match
            ? long.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture)
            : throw new BenchException("callgrind counted nothing: the engine's functions are not called what they were");

    private static long Inclusive(string text, string function) =>
        text.Split('\n').Where(line => line.Contains($":{function} [", StringComparison.Ordinal)).Select(line => InclusiveLine().Match(line)).Where(m => m.Success)
            .Select(m => long.Parse(m.Groups[1].Value, NumberStyles.AllowThousands, CultureInfo.InvariantCulture)).FirstOrDefault();

    [GeneratedRegex(@"^(?:summary|totals):\s*(\d+)")]
    private static partial Regex TotalLine();

    [GeneratedRegex(@"^\s*([\d,]+)\s")]
    private static partial Regex InclusiveLine();
}
