using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>What a daemon and its child need beyond <see cref="System.Diagnostics.Process"/>.</summary>
public static partial class LinuxProcess
{
    public const int SIGHUP = 1;
    public const int SIGINT = 2;
    public const int SIGKILL = 9;
    public const int SIGUSR1 = 10;
    public const int SIGPIPE = 13;
    public const int SIGTERM = 15;

    private const int PR_SET_PDEATHSIG = 1;

    /// <summary>0 is root.</summary>
    public static uint EffectiveUserId => geteuid();

    /// <summary>The kernel's number of the calling thread, as in /proc/PID/task.</summary>
    public static int ThreadId => gettid();

    /// <summary>
    /// Leaves the terminal and the process group of whoever started this process, so that its Ctrl+C does not reach us;
    /// setsid(2).
    /// </summary>
    /// <exception cref="LinuxException">EPERM: it leads a process group already, as a command typed in a shell does.</exception>
    public static void SetSid()
    {
        if (setsid() < 0)
            throw LinuxException.Last("start a new session");
    }

    /// <summary>Sends a signal; false when there is no such process. Signal 0 only asks whether there is.</summary>
    /// <exception cref="LinuxException">EPERM: it belongs to another user.</exception>
    public static bool Kill(int pid, int signal)
    {
        // 0 and negative numbers mean process groups to kill(2).
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(pid);
        if (kill(pid, signal) == 0)
            return true;
        int errno = Marshal.GetLastPInvokeError();
        return errno == Errno.ESRCH ? false : throw new LinuxException(errno, $"send signal {signal} to process {pid}");
    }

    /// <summary>
    /// Has the kernel send this process a signal when its parent ends; PR_SET_PDEATHSIG of prctl(2). "Parent" is the
    /// thread that started this process: a parent that does so from a short-lived thread kills its child with it.
    /// </summary>
    /// <param name="parentPid">Who the parent should be, as told by it. It may be dead by now, with no signal to come.</param>
    /// <param name="signal">SIGTERM for instance.</param>
    /// <returns>False when the parent is dead already.</returns>
    public static bool DieWithParent(int parentPid, int signal = SIGTERM)
    {
        if (prctl(PR_SET_PDEATHSIG, (nuint)signal, 0, 0, 0) < 0)
            throw LinuxException.Last("set the parent-death signal");
        return getppid() == parentPid;
    }

    /// <summary>
    /// Ignores a signal; signal(2). SIGPIPE needs it only in a process without the .NET runtime's own set-up, which
    /// ignores it already; a program started from here inherits an ignored signal.
    /// </summary>
    public static void Ignore(int signal)
    {
        const nint SIG_IGN = 1;
        const nint SIG_ERR = -1;
        if (set_signal(signal, SIG_IGN) == SIG_ERR)
            throw LinuxException.Last($"ignore signal {signal}");
    }

    [LibraryImport("libc", SetLastError = true)]
    internal static partial int prctl(int option, nuint arg2, nuint arg3, nuint arg4, nuint arg5);

    [LibraryImport("libc")]
    private static partial uint geteuid();

    [LibraryImport("libc")]
    private static partial int gettid();

    [LibraryImport("libc")]
    private static partial int getppid();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int setsid();

    [LibraryImport("libc", SetLastError = true)]
    private static partial int kill(int pid, int signal);

    [LibraryImport("libc", EntryPoint = "signal", SetLastError = true)]
    private static partial nint set_signal(int signal, nint handler);
}
