namespace Dataplane.ThroughputBench.Harness;

/// <summary>Runs the subjects in turn, A B C A B C: what disturbs the machine for a minute disturbs all of them.</summary>
public sealed class Interleaved(IReadOnlyList<Subject> subjects, WorkDirectory work)
{
    /// <param name="point">What to measure.</param>
    /// <param name="report">Called after each run, with its number from 1.</param>
    /// <param name="cancel">The user has enough.</param>
    public PointResult Run(Point point, Action<Subject, int, RunResult> report, CancellationToken cancel)
    {
        string files = work.New("traffic");
        IReadOnlyList<string> traffic = point.Scenario.WriteTraffic(files);
        IReadOnlyList<string> devices = RunContext.Replaying(point.Scenario, point.Settings, traffic);
        SubjectResult[] results = [.. subjects.Where(subject => subject.Obstacle(point.Scenario, point.Settings) is null).Select(subject => new SubjectResult(subject))];
        for (int run = 1; run <= point.Settings.Runs; run++)
        {
            foreach (SubjectResult result in results)
            {
                cancel.ThrowIfCancellationRequested();
                string directory = work.New("run");
                RunResult outcome = result.Subject.Run(new RunContext(point.Scenario, point.Settings, devices, directory) { Traffic = traffic }, cancel);
                Directory.Delete(directory, recursive: true);
                result.Add(outcome);
                report(result.Subject, run, outcome);
            }
        }
        Directory.Delete(files, recursive: true);
        return new PointResult(point, results);
    }
}
