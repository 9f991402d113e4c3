using Dataplane.ThroughputBench.Harness;

namespace Dataplane.ThroughputBench.Subjects;

/// <summary>
/// Our engine, the program as it is installed. The benchmark plays the control process: it makes the segment, attaches the ports,
/// writes the tables, and then only reads counters, which costs the engine nothing.
/// </summary>
public class EngineSubject(string name, string program) : Subject(name)
{
    private static readonly TimeSpan WarmUp = TimeSpan.FromSeconds(1);

    /// <summary>Path of the engine.</summary>
    public string Program { get; } = program;

    public override IDisposable Start(RunContext context, CancellationToken cancel)
    {
        var engine = new RunningEngine(Program, context, cancel);
        Version ??= engine.Version;
        return engine;
    }

    public override RunResult Run(RunContext context, CancellationToken cancel)
    {
        using var engine = (RunningEngine)Start(context, cancel);
        engine.Settle(cancel);
        Sleep(WarmUp, cancel);
        var windows = new List<Window>();
        Dictionary<string, object> facts = Measure(engine, () => Windows(engine, context, windows, cancel));
        return new RunResult { Windows = windows, CommandLine = engine.CommandLine, Facts = facts };
    }

    /// <summary>Calls a function that measures, and may do something meanwhile. Gives what is worth to know of the run.</summary>
    protected virtual Dictionary<string, object> Measure(RunningEngine engine, Func<Dictionary<string, object>> measure) => measure();

    private static Dictionary<string, object> Windows(RunningEngine engine, RunContext context, List<Window> windows, CancellationToken cancel)
    {
        EngineMeter meter = engine.Meter;
        EngineReading first = meter.Read(), last = first;
        var time = TimeSpan.FromSeconds(context.Settings.Seconds);
        if (context.Scenario.FillsConnections)
        {
            windows.AddRange(EngineConnections.Measure(engine, context.FilledAt, time, cancel));
            last = meter.Read();
        }
        else
        {
            for (int i = 0; i < (int)(time / context.Settings.Window); i++)
            {
                EngineReading before = last;
                Sleep(context.Settings.Window, cancel);
                engine.Check();
                last = meter.Read();
                windows.Add(EngineMeter.Between(before, last));
            }
        }

        // Without ports nothing moves any more, and the counters must balance.
        engine.DetachPorts();
        Dictionary<string, object> facts = meter.Facts(first, last);
        facts["longestPollMicroseconds"] = last.Workers.Max(worker => worker.LongestPoll) * 1e6 / engine.Segment.Header.TscHz;
        foreach ((string key, object value) in context.Scenario.Facts)
        {
            facts[key] = value;
        }
        return facts;
    }

    private static void Sleep(TimeSpan time, CancellationToken cancel)
    {
        cancel.WaitHandle.WaitOne(time);
        cancel.ThrowIfCancellationRequested();
    }
}
