using System.CommandLine;
using Dataplane.Control.Api.V1;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane status</c></summary>
internal static class StatusCommand
{
    public static Command Build() => new Command("status", "Health of the daemon and of the engine, networks and ports at a glance") { Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            EngineStatus status = await client.Stats.GetEngineAsync(new GetEngineRequest(), deadline: Client.Deadline, cancellationToken: cancel);
            if (Output.TryPrint(parsed.GetValue(Options.Output), status))
            {
                return;
            }
            Print(status);
            List<Resource> ports = await client.ListAsync(Kind.Port, null, cancel);
            if (ports.Count > 0)
            {
                Output.Line("");
                ResourceOutput.Table(Kind.Port, ports);
            }
        })
        .WithExamples("dataplane status", "dataplane status -o json | jq .state");

    private static void Print(EngineStatus s)
    {
        string reason = s.Reason.Length > 0 ? $" ({s.Reason})" : "";
        string since = s.EngineUptime is { } uptime ? $" for {Duration(uptime.ToTimeSpan())}" : "";
        Output.Line($"instance   {s.Instance}, version {s.Version}, control process {s.ControlPid}");
        Output.Line($"engine     {s.State.ToString().ToLowerInvariant()}{reason}, process {s.EnginePid}, {Count(s.Workers, "worker")}{since}, started {s.EngineStarts}x");
        Output.Line($"           heartbeat {s.HeartbeatAge?.ToTimeSpan().TotalMilliseconds:0} ms ago, {s.GarbageCollections} garbage collections, "
            + $"{Output.Number(s.BuffersFree)} of {Output.Number(s.BuffersTotal)} packet buffers free");
        Output.Line($"state      {Count(s.Networks, "network")}, {Count(s.Ports, "port")} ({s.PortsUp} up), revision {s.Revision}, generation {s.Generation}");
        Output.Line($"store      {s.Store.Location}{(s.Store.Available ? "" : ", away")}{(s.Store.Reason.Length > 0 ? $": {s.Store.Reason}" : "")}");
        if (s.Flannel is { } flannel)
        {
            Print(flannel);
        }
        Output.Line($"MAC table  {Output.Number(s.MacEntries)} of {Output.Number(s.MacCapacity)}");
        Output.Line($"segment    {s.SegmentPath} ({s.SegmentBytes / 1048576.0:0.0} MiB)");
        Output.Line($"engine log {s.EngineLog}");
    }

    private static void Print(FlannelStatus s)
    {
        string subnets = s.Subnets.Count > 0 ? $" {string.Join(", ", s.Subnets)}" : "";
        string ends = s.Reserved ? " (reserved)" : s.LeaseEnds is { } end ? $" until {end.ToDateTimeOffset():u}" : "";
        Output.Line($"flannel    {s.State.ToString().ToLowerInvariant()}{subnets}{ends}, {Count(s.Peers, "peer")}{(s.Reason.Length > 0 ? $": {s.Reason}" : "")}");
        foreach (string problem in s.Problems)
        {
            Output.Line($"           {problem}");
        }
    }

    private static string Count(uint number, string what) => $"{number} {what}{(number == 1 ? "" : "s")}";

    private static string Duration(TimeSpan time) =>
        time.TotalDays >= 1 ? $"{time.Days} d {time.Hours} h" : time.TotalHours >= 1 ? $"{time.Hours} h {time.Minutes} min"
        : time.TotalMinutes >= 1 ? $"{time.Minutes} min {time.Seconds} s" : $"{time.TotalSeconds:0.0} s";
}
