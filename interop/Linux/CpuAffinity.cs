using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Linux;

/// <summary>Which CPUs the calling thread may run on, where they are, what the thread is called, and how exactly it is woken.</summary>
public static unsafe partial class CpuAffinity
{
    private const int MaxCpus = 8192; // CONFIG_NR_CPUS is at most this
    private const int PR_SET_NAME = 15;
    private const int PR_SET_TIMERSLACK = 29;

    /// <summary>The CPUs the calling thread may run on, in ascending order; sched_getaffinity(2).</summary>
    public static int[] Get()
    {
        ulong* mask = stackalloc ulong[MaxCpus / 64];
        new Span<ulong>(mask, MaxCpus / 64).Clear();
        if (sched_getaffinity(0, MaxCpus / 8, mask) < 0)
            throw LinuxException.Last("read the thread's CPU affinity");
        var cpus = new List<int>();
        for (int word = 0; word < MaxCpus / 64; word++)
        {
            for (ulong bits = mask[word]; bits != 0; bits &= bits - 1)
                cpus.Add(word * 64 + BitOperations.TrailingZeroCount(bits));
        }
        return [.. cpus];
    }

    /// <summary>
    /// Makes the calling thread run on these CPUs only; sched_setaffinity(2). Threads started by it later inherit that.
    /// Only for threads of one's own, never on the thread pool.
    /// </summary>
    /// <exception cref="LinuxException">EINVAL: none of them exists, or the container may use none of them.</exception>
    public static void Set(params ReadOnlySpan<int> cpus)
    {
        const int Myself = 0;
        Bind(Myself, cpus);
    }

    /// <summary>
    /// Makes all threads of this process run on these CPUs only, whoever started them, and those as well that any of them starts later.
    /// A thread may choose others for itself afterwards.
    /// </summary>
    /// <exception cref="LinuxException">EINVAL: none of them exists, or the container may use none of them.</exception>
    public static void SetProcess(params ReadOnlySpan<int> cpus)
    {
        Set(cpus);
        var known = new HashSet<int>();
        // What a thread starts while we look inherits from it what it had: look until there is nobody new.
        for (bool any = true; any;)
        {
            any = false;
            foreach (string task in Directory.EnumerateDirectories("/proc/self/task"))
            {
                if (int.TryParse(Path.GetFileName(task.AsSpan()), NumberStyles.None, CultureInfo.InvariantCulture, out int thread) && known.Add(thread))
                {
                    any = true;
                    Bind(thread, cpus);
                }
            }
        }
    }

    private static void Bind(int thread, ReadOnlySpan<int> cpus)
    {
        ulong* mask = stackalloc ulong[MaxCpus / 64];
        new Span<ulong>(mask, MaxCpus / 64).Clear();
        foreach (int cpu in cpus)
        {
            if (cpu is < 0 or >= MaxCpus)
                throw new ArgumentOutOfRangeException(nameof(cpus), cpu, "not a CPU number");
            mask[cpu / 64] |= 1UL << (cpu % 64);
        }
        if (sched_setaffinity(thread, MaxCpus / 8, mask) == 0)
            return;
        int errno = Marshal.GetLastPInvokeError();
        if (errno == Errno.ESRCH)
            return; // it has ended
        throw new LinuxException(errno, $"bind the thread to CPU {Format(cpus)}", errno == Errno.EINVAL
            ? "No such CPU is online, or this process's cpuset does not include it; see Cpus_allowed_list in /proc/self/status."
            : null);
    }

    /// <summary>The CPU the calling thread is on at this moment.</summary>
    public static int Current() => sched_getcpu();

    /// <summary>Reads a list as the kernel writes them: "1-3,5" is 1, 2, 3 and 5. In ascending order, each once.</summary>
    /// <exception cref="FormatException">It is not such a list.</exception>
    public static int[] Parse(string list)
    {
        var cpus = new SortedSet<int>();
        foreach (string range in list.Split(',', StringSplitOptions.TrimEntries))
        {
            string[] ends = range.Split('-', 2);
            int last = 0;
            if (!TryParse(ends[0], out int first) || (ends.Length == 2 && !TryParse(ends[1], out last)))
                throw new FormatException($"'{range}' in the CPU list '{list}' is neither a CPU number nor a range like 1-3");
            if (ends.Length == 1)
                last = first;
            if (last < first)
                throw new FormatException($"the range '{range}' in the CPU list '{list}' is the wrong way round");
            for (int cpu = first; cpu <= last; cpu++)
                cpus.Add(cpu);
        }
        return [.. cpus];

        static bool TryParse(string text, out int cpu) =>
            int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out cpu) && cpu < MaxCpus;
    }

    /// <summary>The reverse of <see cref="Parse"/>; ascending numbers expected.</summary>
    public static string Format(ReadOnlySpan<int> cpus)
    {
        var text = new StringBuilder();
        for (int i = 0; i < cpus.Length; i++)
        {
            int first = i;
            while (i + 1 < cpus.Length && cpus[i + 1] == cpus[i] + 1)
                i++;
            text.Append(text.Length > 0 ? "," : "").Append(cpus[first]);
            if (i > first)
                text.Append('-').Append(cpus[i]);
        }
        return text.ToString();
    }

    /// <summary>The NUMA node of a CPU; 0 on machines without any, -1 when there is no such CPU.</summary>
    public static int NodeOf(int cpu)
    {
        string directory = string.Create(CultureInfo.InvariantCulture, $"/sys/devices/system/cpu/cpu{cpu}");
        if (!Directory.Exists(directory))
            return -1;
        foreach (string entry in Directory.EnumerateFileSystemEntries(directory, "node*"))
        {
            if (int.TryParse(Path.GetFileName(entry.AsSpan())["node".Length..], NumberStyles.None, CultureInfo.InvariantCulture, out int node))
                return node;
        }
        return 0;
    }

    /// <summary>
    /// Names the calling thread as ps and top show it; PR_SET_NAME of prctl(2). Cut after 15 bytes. Unlike
    /// <see cref="Thread.Name"/> it can be set again.
    /// </summary>
    public static void NameThread(string name)
    {
        Span<byte> bytes = stackalloc byte[16];
        bytes.Clear();
        Encoding.UTF8.GetEncoder().Convert(name, bytes[..15], flush: true, out _, out _, out _);
        fixed (byte* text = bytes)
        {
            if (LinuxProcess.prctl(PR_SET_NAME, (nuint)text, 0, 0, 0) < 0)
                throw LinuxException.Last($"name the thread '{name}'");
        }
    }

    /// <summary>
    /// How much later than asked for the kernel may wake the calling thread from a sleep; PR_SET_TIMERSLACK of prctl(2). Without, it is 50 µs.
    /// </summary>
    /// <param name="nanoseconds">At least 1: 0 sets what the thread began with.</param>
    public static void SetTimerSlack(int nanoseconds)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(nanoseconds, 1);
        if (LinuxProcess.prctl(PR_SET_TIMERSLACK, (nuint)nanoseconds, 0, 0, 0) < 0)
            throw LinuxException.Last("set the thread's timer slack");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int sched_getaffinity(int thread, nuint length, ulong* mask);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int sched_setaffinity(int thread, nuint length, ulong* mask);

    [LibraryImport("libc")]
    private static partial int sched_getcpu();
}
