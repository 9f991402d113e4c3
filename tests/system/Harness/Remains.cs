using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>What an instance of the switch has on the machine, found by looking at the machine and not by what a test remembers.</summary>
public static class Remains
{
    /// <summary>Processes that name the instance, its files, and TAP devices in the namespaces given; one line each.</summary>
    public static IReadOnlyList<string> Of(string instance, params Namespace[] namespaces) =>
    [
        .. Processes(instance).Select(p => $"process {p.Id}: {p.CommandLine}"),
        .. new[] { $"/run/dataplane/{instance}", $"/dev/shm/dataplane-{instance}" }.Where(Path.Exists),
        .. namespaces.Where(n => n.Exists).SelectMany(Devices),
    ];

    /// <summary>Fails unless nothing is left.</summary>
    public static void AreNone(string instance, params Namespace[] namespaces) =>
        Assert.True(Of(instance, namespaces) is { Count: 0 }, string.Join('\n', Of(instance, namespaces)));

    /// <summary>Processes of the switch whose command line names the instance.</summary>
    public static IEnumerable<(int Id, string CommandLine)> Processes(string instance)
    {
        foreach (string directory in Directory.EnumerateDirectories("/proc"))
        {
            if (int.TryParse(Path.GetFileName(directory), out int id) && Arguments(id) is [var program, ..] arguments
                && Path.GetFileName(program).StartsWith("dataplane", StringComparison.Ordinal)
                && arguments.Any(a => a == instance || a.EndsWith($"dataplane-{instance}", StringComparison.Ordinal)))
            {
                yield return (id, string.Join(' ', arguments));
            }
        }
    }

    /// <summary>Kills every process of the instance at once, as the end of a container or a power cut does, and waits for their end.</summary>
    public static void KillAll(string instance)
    {
        List<(int Id, string CommandLine)> processes = [.. Processes(instance)];
        foreach ((int id, _) in processes)
        {
            LinuxProcess.Kill(id, LinuxProcess.SIGKILL);
        }
        Until.True(() => processes.All(p => HasEnded(p.Id)) && !Processes(instance).Any(), "all processes have ended");
    }

    /// <summary>All devices but the loopback are of the switch.</summary>
    private static IEnumerable<string> Devices(Namespace ns) =>
        ns.Do("ip", "-o", "link").Split('\n', StringSplitOptions.RemoveEmptyEntries).Where(line => !line.Contains("LOOPBACK", StringComparison.Ordinal))
            .Select(line => $"in {ns.Label}: {line}");

    /// <summary>Only then are its files closed and its locks free; its command line is gone before.</summary>
    private static bool HasEnded(int id)
    {
        try
        {
            // pid (name) state …; one that nobody has waited for is still listed.
            string stat = File.ReadAllText($"/proc/{id}/stat");
            return stat[stat.LastIndexOf(')') + 2] is 'Z' or 'X';
        }
        catch (IOException)
        {
            return true;
        }
    }

    /// <summary>Empty when the process has ended.</summary>
    private static string[] Arguments(int id)
    {
        try
        {
            return File.ReadAllText($"/proc/{id}/cmdline").Split('\0', StringSplitOptions.RemoveEmptyEntries);
        }
        catch (IOException)
        {
            return [];
        }
    }
}
