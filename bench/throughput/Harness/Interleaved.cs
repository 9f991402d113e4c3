namespace Dataplane.ThroughputBench.Harness;

/// <summary>Runs the subjects in turn, A B C A B C: what disturbs the machine for a minute disturbs all of them.</summary>
public sealed class Interleaved(IReadOnlyList<Subject> subjects, RunSettings settings, WorkDirectory work)
{
    /// <param name="scenario">The workload.</param>
    /// <param name="report">Called after each run, with its number from 1.</param>
    /// <param name="cancel">The user has enough.</param>
    public ScenarioResult Run(Scenario scenario, Action<Subject, int, RunResult> report, CancellationToken cancel)
    {
        IReadOnlyList<string> traffic = scenario.WriteTraffic(work.New("traffic"));
        SubjectResult[] results = [.. subjects.Select(subject => new SubjectResult(subject))];
        for (int run = 1; run <= settings.Runs; run++)
        {
            foreach (SubjectResult result in results)
            {
                cancel.ThrowIfCancellationRequested();
                string directory = work.New("run");
                RunResult outcome = result.Subject.Run(new RunContext(scenario, settings, traffic, directory), cancel);
                Directory.Delete(directory, recursive: true);
                result.Add(outcome);
                report(result.Subject, run, outcome);
            }
        }
        return new ScenarioResult(scenario, results);
    }
}
