using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Control.State.Sqlite;

namespace Dataplane.UnitTests.Control;

/// <summary>
/// A process of its own that does nothing but save: batch after batch into each of some files at once, and a line
/// "file number" on standard output for each batch that is acknowledged, until somebody kills it.
/// </summary>
internal static class StoreWriter
{
    /// <summary>First argument of this program that makes it such a process; the paths of the files follow.</summary>
    public const string Command = "store-writer";

    /// <summary>Ports that every batch changes.</summary>
    public const int Ports = 8;

    private static readonly Limits Limits = new(1000, 100);

    public static int Run(IReadOnlyList<string> paths)
    {
        var output = new StreamWriter(Console.OpenStandardOutput()) { AutoFlush = true };
        Task[] writers = [.. paths.Select((path, file) => Task.Factory.StartNew(() => Write(path, file, output), TaskCreationOptions.LongRunning))];
        Task.WaitAny(writers);
        return 1;
    }

    /// <summary>What is wrong with a state that was found, or null when it is one that whole batches led to.</summary>
    public static string? Flaw(DesiredState state)
    {
        uint number = (uint)state.Revision;
        return number == 0 ? state == DesiredState.Empty ? null : "revision 0 is not empty"
            : state.Ports.Count != Ports + 1 ? $"{state.Ports.Count} ports"
            : !state.Ports.ContainsKey($"only-{number}") ? $"no port only-{number}"
            : state.Ports.Values.Where(p => p.Spec.LearnLimit != number).Select(p => $"port {p.Spec.Name} is of batch {p.Spec.LearnLimit}").FirstOrDefault();
    }

    private static void Write(string path, int file, StreamWriter output)
    {
        using var store = new SqliteStore(path);
        DesiredState state = store.Load();
        while (true)
        {
            PlannedBatch plan = BatchPlanner.Plan(state, Batch((uint)state.Revision + 1), Limits);
            store.Save(plan.From(state));
            state = plan.After;
            lock (output)
            {
                output.Write($"{file} {state.Revision}\n");
            }
        }
    }

    /// <summary>Updates the same ports in every batch, makes one, and deletes that of the batch before.</summary>
    public static Batch Batch(uint number) => new()
    {
        Apply =
        [
            Make.Net("n"),
            .. Enumerable.Range(0, Ports).Select(i => Make.Memory($"port-{i}", "n", p => p.LearnLimit = number)),
            Make.Memory($"only-{number}", "n", p => p.LearnLimit = number),
        ],
        Delete = [new ResourceKey { Kind = Kind.Port, Name = $"only-{number - 1}" }],
        IgnoreMissing = true,
    };
}
