using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Report;

/// <summary>
/// The result as JSON: every window of every run with its command line, so that nobody has to trust a summary.
/// </summary>
public static class JsonReport
{
    private static readonly JsonSerializerOptions Options = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static void Write(BenchReport report, string path)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(path))!);
        using FileStream file = File.Create(path);
        JsonSerializer.Serialize(file, ToJson(report), Options);
    }

    private static object ToJson(BenchReport report) => new
    {
        report.Name,
        report.Started,
        report.Machine,
        report.TscHz,
        Settings = new { report.Settings.Runs, report.Settings.Seconds, WindowSeconds = report.Settings.Window.TotalSeconds, report.Settings.Core, report.Settings.Hugepages, RunSettings.Burst },
        Scenarios = report.Scenarios.Select(scenario => new
        {
            scenario.Scenario.Name,
            scenario.Scenario.Size,
            scenario.Scenario.Buffers,
            Subjects = scenario.Subjects.Select(subject => ToJson(report, scenario, subject)),
        }),
    };

    private static object ToJson(BenchReport report, ScenarioResult scenario, SubjectResult subject) => new
    {
        subject.Subject.Name,
        subject.Subject.Version,
        subject.PacketsPerSecond,
        ClocksPerPacket = subject.Clocks(report.TscHz),
        BusyClocksPerPacket = subject.BusyClocks,
        StageClocksPerPacket = subject.StageClocks,
        Ratios = report.References
            .Select(name => (Name: name, Ratio: report.Ratio(scenario, subject, name)))
            .Where(entry => entry.Ratio.HasValue)
            .ToDictionary(entry => entry.Name, entry => new { entry.Ratio!.Value.Best, entry.Ratio.Value.Median }),
        Runs = subject.Runs,
    };
}
