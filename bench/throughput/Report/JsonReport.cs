using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Dataplane.ThroughputBench.Report;

/// <summary>
/// The report as JSON: every window of every run with its command line, so that nobody has to trust a summary.
/// </summary>
public static class JsonReport
{
    private static readonly JsonSerializerOptions s_options = new(JsonSerializerDefaults.Web)
    {
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    public static void Write(BenchReport report, string path)
    {
        using FileStream file = File.Create(path);
        JsonSerializer.Serialize(file, new
        {
            report.Command,
            report.Started,
            report.Ended,
            report.Machine,
            report.Versions,
            Sections = report.Sections.Select(section => new { section.Title, section.Conditions, section.Notes, section.Warnings, section.Commands, section.Figures }),
        }, s_options);
    }
}
