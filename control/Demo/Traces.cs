using Dataplane.Interop.Linux;

namespace Dataplane.Control.Demo;

internal enum TraceKind
{
    Process,
    Namespace,
    Device,
    Path,
}

/// <summary>One thing that a demo left on the machine.</summary>
internal sealed record Trace(TraceKind Kind, string Name, int ProcessId = 0)
{
    public override string ToString() => Kind switch
    {
        TraceKind.Process => $"process {ProcessId} ({Name})",
        TraceKind.Namespace => $"network namespace {Name}",
        TraceKind.Device => $"network device {Name}",
        _ => Name,
    };
}

/// <summary>
/// Finds and removes what a demo has made, by its names and not by what this process remembers: so that a demo also
/// clears away after one that was killed, and so that one can prove that it left nothing.
/// </summary>
/// <remarks>
/// TAP devices live as long as a process holds them and no longer; with the processes they go. A process is the demo's
/// when it is one of this program's and its command line names the demo's instance or a file of it, or when it is a
/// ping, iperf3 or curl in a namespace of the demo. Anything else that runs in such a namespace is somebody's shell; it is left
/// alone.
/// </remarks>
internal static class Traces
{
    private const string NamespaceFolder = "/run/netns";
    private const string Engine = "dataplane-engine";
    private static readonly string[] OwnPrograms = ["dataplane", Engine, "dotnet"];
    private static readonly string[] Clients = ["ping", "iperf3", "curl"];
    private static readonly TimeSpan Quick = TimeSpan.FromSeconds(5);

    /// <param name="plan">Tells whether the host's device would be the demo's; null when no demo runs that could own one.</param>
    public static async Task<IReadOnlyList<Trace>> FindAsync(DemoPlan? plan)
    {
        List<Trace> found = [.. OwnProcesses()];
        if (Directory.Exists(NamespaceFolder))
        {
            foreach (string path in Directory.GetFiles(NamespaceFolder, DemoPlan.NamespacePrefix + "*").Order())
            {
                string name = Path.GetFileName(path);
                found.AddRange(await ClientsInAsync(name));
                found.Add(new Trace(TraceKind.Namespace, name));
            }
        }
        if (plan is { Isolated: false } && Directory.Exists("/sys/class/net/" + DemoPlan.HostDevice))
        {
            found.Add(new Trace(TraceKind.Device, DemoPlan.HostDevice));
        }
        found.AddRange(DemoInstance.All.SelectMany(i => i.Paths).Where(Path.Exists).Select(path => new Trace(TraceKind.Path, path)));
        return found;
    }

    /// <summary>Removes everything that <see cref="FindAsync"/> finds, and gives what could not be removed.</summary>
    public static async Task<IReadOnlyList<Trace>> RemoveAsync(DemoPlan? plan)
    {
        // The daemon is asked first, since it ends its engine and clears away by itself; then all are, then all are made to.
        (int Signal, Func<Trace, bool> To)[] rounds =
        [
            (LinuxProcess.SIGTERM, t => t.Name != Engine), (LinuxProcess.SIGTERM, _ => true), (LinuxProcess.SIGKILL, _ => true),
        ];
        foreach ((int signal, Func<Trace, bool> to) in rounds)
        {
            Trace[] processes = [.. (await FindAsync(plan)).Where(t => t.Kind == TraceKind.Process).Where(to)];
            foreach (Trace process in processes)
            {
                LinuxProcess.Kill(process.ProcessId, signal);
            }
            for (int i = 0; i < 100 && processes.Any(p => IsRunning(p.ProcessId)); i++)
            {
                await Task.Delay(50);
            }
        }
        foreach (Trace trace in await FindAsync(plan))
        {
            if (trace.Kind == TraceKind.Namespace)
            {
                await Tools.RunAsync(["ip", "netns", "delete", trace.Name], Quick, CancellationToken.None);
            }
            else if (trace.Kind == TraceKind.Path)
            {
                Delete(trace.Name);
            }
        }
        DemoInstance.RemoveEmptyParent();
        return await FindAsync(plan);
    }

    private static void Delete(string path)
    {
        try
        {
            if (Directory.Exists(path))
            {
                Directory.Delete(path, recursive: true);
            }
            else
            {
                File.Delete(path);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // It stays, and whoever looks next finds it again.
        }
    }

    private static IEnumerable<Trace> OwnProcesses()
    {
        foreach (string folder in Directory.GetDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(folder), out int id) && id != Environment.ProcessId &&
                CommandLine(id) is [var program, .. var arguments] &&
                OwnPrograms.Contains(Path.GetFileName(program)) && DemoInstance.All.Any(i => i.IsNamedBy(arguments)))
            {
                yield return new Trace(TraceKind.Process, Path.GetFileName(program), id);
            }
        }
    }

    private static async Task<IEnumerable<Trace>> ClientsInAsync(string name)
    {
        ToolResult result = await Tools.RunAsync(["ip", "netns", "pids", name], Quick, CancellationToken.None);
        return result.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => int.TryParse(line, out int id) ? id : 0)
            .Select(id => (Id: id, Program: CommandLine(id) is [var program, ..] ? Path.GetFileName(program) : ""))
            .Where(p => Clients.Contains(p.Program))
            .Select(p => new Trace(TraceKind.Process, p.Program, p.Id));
    }

    /// <summary>Whether a process runs; one that has ended and was not waited for has no command line any more.</summary>
    private static bool IsRunning(int id) => CommandLine(id).Length > 0;

    private static string[] CommandLine(int id)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline").Split('\0', StringSplitOptions.RemoveEmptyEntries);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }
}
