using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.UnitTests.Interop.Linux;

/// <summary>
/// A process that binds all its threads to one CPU, and then says of each which ones it may run on: those that were there, one that one of these
/// starts afterwards, and one that has chosen for itself.
/// </summary>
internal static class ProcessAffinity
{
    public const string Command = "bind-process";

    /// <summary>Name of the thread that chooses for itself.</summary>
    public const string Exception = "exception";

    /// <summary>Threads that are there before, and as many that these start.</summary>
    public const int Threads = 4;

    /// <param name="cpu">For all threads but one.</param>
    /// <param name="other">For that one.</param>
    public static int Run(string cpu, string other)
    {
        using var bound = new ManualResetEventSlim();
        using var started = new CountdownEvent((2 * Threads) + 1);
        using var end = new ManualResetEventSlim();
        for (int i = 0; i < Threads; i++)
        {
            Start(() =>
            {
                started.Signal();
                bound.Wait();
                Start(() =>
                {
                    started.Signal();
                    end.Wait();
                });
                end.Wait();
            });
        }
        CpuAffinity.SetProcess(int.Parse(cpu, CultureInfo.InvariantCulture));
        bound.Set();
        Start(() =>
        {
            CpuAffinity.Set(int.Parse(other, CultureInfo.InvariantCulture));
            CpuAffinity.NameThread(Exception);
            started.Signal();
            end.Wait();
        });
        started.Wait();
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
        {
            Console.Out.WriteLine($"{File.ReadAllText(Path.Combine(task, "comm")).Trim()}: {Allowed(task)}");
        }
        end.Set();
        return 0;
    }

    private static void Start(Action action) => new Thread(() => action()) { IsBackground = true }.Start();

    private static string Allowed(string task) =>
        File.ReadLines(Path.Combine(task, "status")).Single(line => line.StartsWith("Cpus_allowed_list:", StringComparison.Ordinal)).Split(':')[1].Trim();
}
