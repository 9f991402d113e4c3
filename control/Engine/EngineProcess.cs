using System.ComponentModel;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using Dataplane.Interop.Linux;
using Dataplane.Protocol;

namespace Dataplane.Control.Engine;

/// <summary>The engine could not be started; the message holds what it said.</summary>
public sealed class EngineStartException(string message) : Exception(message);

/// <summary>Starts the engine process, finds a running one, and ends it.</summary>
internal sealed class EngineProcess(InstancePaths paths, EngineCommand command)
{
    private static readonly TimeSpan StartPatience = TimeSpan.FromSeconds(30), StopPatience = TimeSpan.FromSeconds(5), LockPatience = TimeSpan.FromSeconds(2);

    /// <summary>How often a starting engine is asked; a restarted one should not wait for us.</summary>
    private static readonly TimeSpan AskInterval = TimeSpan.FromMilliseconds(5);

    /// <summary>
    /// Redirects to the log and becomes the engine. The log is the process's own file, not a pipe to us: the engine must be
    /// able to write when we are gone.
    /// </summary>
    private const string StartScript = "exec \"$0\" \"$@\" >>\"$DATAPLANE_ENGINE_LOG\" 2>&1 </dev/null";

    private const string Shell = "/bin/sh";

    private const int LogLines = 12;

    /// <summary>Connects to an engine that runs already, or gives null.</summary>
    public EngineClient? FindRunning()
    {
        try
        {
            return EngineClient.Connect(paths.EngineSocket, TimeSpan.FromSeconds(1));
        }
        catch (LinuxException)
        {
            return null;
        }
    }

    /// <summary>Starts the engine and waits until it answers.</summary>
    /// <exception cref="EngineStartException">It ended, or never answered.</exception>
    public async Task<EngineClient> StartAsync(CancellationToken cancel)
    {
        await WaitForLockAsync();
        long logStart = File.Exists(paths.EngineLog) ? new FileInfo(paths.EngineLog).Length : 0;
        using Process process = Launch();
        var patience = Stopwatch.StartNew();
        while (!process.HasExited)
        {
            if (FindRunning() is { } client)
            {
                return client;
            }
            if (patience.Elapsed > StartPatience || cancel.IsCancellationRequested)
            {
                process.Kill();
                cancel.ThrowIfCancellationRequested();
                throw new EngineStartException($"the engine did not answer within {StartPatience.TotalSeconds:0} s:{LogTail(logStart)}");
            }
            await Task.Delay(AskInterval, CancellationToken.None);
        }
        throw new EngineStartException($"the engine ended at once with exit code {process.ExitCode}:{LogTail(logStart)}");
    }

    /// <summary>Ends an engine: asks it, then tells it, then kills it.</summary>
    /// <param name="client">A connection to it, or null when there is none.</param>
    /// <param name="pid">Its process.</param>
    public async Task StopAsync(EngineClient? client, int pid)
    {
        try
        {
            client?.Quit();
        }
        catch (Exception e) when (e is LinuxException or EngineException or ObjectDisposedException)
        {
            // It is gone already, or too stuck to be asked.
        }
        foreach (int signal in new[] { 0, LinuxProcess.SIGTERM, LinuxProcess.SIGKILL })
        {
            if (await HasEndedAsync(pid, signal))
            {
                return;
            }
        }
    }

    /// <summary>The last lines of the log, each on a line of its own.</summary>
    public string LogTail(long from = 0)
    {
        try
        {
            using var log = new FileStream(paths.EngineLog, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            log.Seek(Math.Max(from, log.Length - 65_536), SeekOrigin.Begin);
            string[] lines = new StreamReader(log, Encoding.UTF8).ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
            return lines.Length == 0 ? " it said nothing" : string.Concat(lines.TakeLast(LogLines).Select(l => $"\n  {l}"));
        }
        catch (IOException)
        {
            return $" see {paths.EngineLog}";
        }
    }

    /// <summary>Whether the lock of an engine is held by a living process.</summary>
    public static bool IsRunning(InstancePaths paths, out int pid)
    {
        pid = 0;
        if (!File.Exists(paths.EngineLock) || !FileLock.TryAcquire(paths.EngineLock, out FileLock? free, out pid))
        {
            return pid != 0;
        }
        free.Dispose();
        return false;
    }

    /// <summary>An engine that was killed closes its socket a moment before the kernel takes its lock away.</summary>
    private async Task WaitForLockAsync()
    {
        var waited = Stopwatch.StartNew();
        while (IsRunning(paths, out int holder))
        {
            if (waited.Elapsed > LockPatience)
            {
                throw new EngineStartException($"another engine (pid {holder}) has the segment of this instance and does not answer; end it, then try again");
            }
            await Task.Delay(1);
        }
    }

    private Process Launch()
    {
        var start = new ProcessStartInfo(Shell) { UseShellExecute = false };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(StartScript);
        start.ArgumentList.Add(command.Executable);
        foreach (string argument in command.Arguments(paths))
        {
            start.ArgumentList.Add(argument);
        }
        start.Environment["DATAPLANE_ENGINE_LOG"] = paths.EngineLog;
        try
        {
            return Process.Start(start) ?? throw new EngineStartException($"{Shell} cannot be started");
        }
        catch (Win32Exception e)
        {
            throw new EngineStartException($"{Shell}, which starts the engine, cannot be started: {Marshal.GetPInvokeErrorMessage(e.NativeErrorCode)}");
        }
    }

    private static async Task<bool> HasEndedAsync(int pid, int signal)
    {
        if (pid <= 0 || !LinuxProcess.Kill(pid, signal))
        {
            return true;
        }
        for (var waited = Stopwatch.StartNew(); waited.Elapsed < StopPatience; await Task.Delay(10))
        {
            if (!IsAlive(pid))
            {
                return true;
            }
        }
        return false;
    }

    /// <summary>Whether a process runs; one that has ended and waits to be reaped does not.</summary>
    private static bool IsAlive(int pid)
    {
        try
        {
            // pid (name) state …; the name may contain anything but is closed by the last parenthesis.
            string stat = File.ReadAllText($"/proc/{pid}/stat");
            return stat[stat.LastIndexOf(')') + 2] is not ('Z' or 'X');
        }
        catch (IOException)
        {
            return false;
        }
    }
}
