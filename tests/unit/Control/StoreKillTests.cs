using System.Diagnostics;
using System.Globalization;
using Dataplane.Control.State;
using Dataplane.Control.State.Sqlite;
using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests.Control;

/// <summary>
/// A process that saves as fast as it can is killed (SIGKILL) at random instants, again and again on the same files:
/// nothing that it said was saved is missing, and nothing is there in part.
/// </summary>
public sealed class StoreKillTests : IDisposable
{
    /// <summary>Each kill meets every file at another instant of its own: 30 times 10 are 300.</summary>
    private const int Kills = 30, Files = 10;

    private readonly string _directory = Directory.CreateTempSubdirectory("dpunit-").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public async Task AKilledWriterLosesNothingThatItAcknowledged()
    {
        string[] paths = [.. Enumerable.Range(0, Files).Select(i => Path.Combine(_directory, $"{i}.db"))];
        var random = new Random(1);
        var acknowledged = new ulong[Files];

        for (int kill = 0; kill < Kills; kill++)
        {
            using Process writer = Start([StoreWriter.Command, .. paths]);
            // On threads of their own: as long as there is something to read, the reader does not return to its caller.
            int said = 0;
            Task<List<string>> output = Task.Run(() => Lines(writer.StandardOutput, ref said));
            Task<string> error = Task.Run(writer.StandardError.ReadToEnd);
            // Some are killed while they open the files, most at work. Counted in batches, not in time: a busy machine saves few.
            int enough = random.Next(2 * Files, 20 * Files);
            await Until(() => kill % 8 == 0 ? Directory.EnumerateFiles(_directory, "*-wal").Any() : Volatile.Read(ref said) >= enough || writer.HasExited);
            await Task.Delay(TimeSpan.FromMilliseconds(random.NextDouble() * 20));
            writer.Kill();
            await writer.WaitForExitAsync();
            Assert.Equal("", await error);
            Note(await output, (file, revision) => acknowledged[file] = revision);

            for (int file = 0; file < Files; file++)
            {
                using var store = new SqliteStore(paths[file]);
                DesiredState found = store.Load();
                Assert.Null(StoreWriter.Flaw(found));
                // One batch may have been saved and not yet acknowledged.
                Assert.InRange(found.Revision, acknowledged[file], acknowledged[file] + 1);
                acknowledged[file] = found.Revision;
            }
        }
        Assert.True(acknowledged.Sum(a => (long)a) > Kills * Files, $"only {string.Join(", ", acknowledged)} batches were saved");
    }

    private static async Task Until(Func<bool> condition)
    {
        for (int i = 0; i < 3000 && !condition(); i++)
        {
            await Task.Delay(10);
        }
    }

    /// <summary>Lines until the process has ended. What follows the last line break was not said in full.</summary>
    internal static List<string> Lines(StreamReader from, ref int count)
    {
        var lines = new List<string>();
        var line = new System.Text.StringBuilder();
        for (int c; (c = from.Read()) >= 0;)
        {
            if (c != '\n')
            {
                line.Append((char)c);
                continue;
            }
            lines.Add(line.ToString());
            line.Clear();
            Interlocked.Increment(ref count);
        }
        return lines;
    }

    /// <summary>Reads lines "file number".</summary>
    internal static void Note(List<string> lines, Action<int, ulong> acknowledged)
    {
        foreach (string line in lines)
        {
            string[] words = line.Split(' ');
            acknowledged(int.Parse(words[0], CultureInfo.InvariantCulture), ulong.Parse(words[1], CultureInfo.InvariantCulture));
        }
    }

    /// <summary>This program by itself, as one of the processes that are killed.</summary>
    internal static Process Start(string[] arguments)
    {
        // The test host is run by dotnet, or it is a program of its own that dotnet started.
        string host = Path.GetFileName(Environment.ProcessPath) == "dotnet" ? Environment.ProcessPath! : Environment.GetEnvironmentVariable("DOTNET_HOST_PATH") ?? "dotnet";
        return Shell.Start([host, "exec", typeof(StoreWriter).Assembly.Location, .. arguments]);
    }
}
