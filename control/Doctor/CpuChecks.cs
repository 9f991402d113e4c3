using Dataplane.Interop.Linux;

namespace Dataplane.Control.Doctor;

/// <summary>Processors: what they can do, and whether workers have theirs to themselves.</summary>
internal sealed class CpuChecks(SystemFiles files, Findings findings, DoctorPlan plan, IReadOnlyList<PciFunction> cards)
{
    private const string Cpus = "/sys/devices/system/cpu";

    /// <summary>x86-64-v3, for which the engine is compiled, by the kernel's names; but for LZCNT, which not every kernel lists.</summary>
    private static readonly string[] s_features =
        ["cx16", "lahf_lm", "popcnt", "pni", "ssse3", "sse4_1", "sse4_2", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"];

    private readonly int[] _online = List(files.Read($"{Cpus}/online")), _isolated = List(files.Read($"{Cpus}/isolated"));

    public void Run()
    {
        Features();
        if (plan.Cores.Count == 0)
        {
            NoCores();
            return;
        }
        int[] absent = [.. plan.Cores.Where(c => !_online.Contains(c))];
        if (absent.Length > 0)
        {
            findings.Problem("cores", Text(absent), $"not online; there are {Text(_online)}", $"choose other ones with --cores{(absent.Length == 1 && files.Exists($"{Cpus}/cpu{absent[0]}") ? $", or: echo 1 > {Cpus}/cpu{absent[0]}/online" : "")}");
            return;
        }
        if (plan.Cores.Count < plan.Workers)
        {
            findings.Problem("cores", Text(plan.Cores), $"fewer than the {plan.Workers} workers", $"--workers {plan.Cores.Count}, or more --cores");
        }
        Isolation();
        Siblings();
        Nodes();
        Governors();
    }

    private void Features()
    {
        string text = files.Read("/proc/cpuinfo") ?? "";
        string? flags = text.Split('\n').FirstOrDefault(l => l.StartsWith("flags", StringComparison.Ordinal));
        if (flags is null)
        {
            findings.Ok("cpu", "", "no x86: nothing is known to be missing");
            return;
        }
        HashSet<string> has = [.. flags[(flags.IndexOf(':', StringComparison.Ordinal) + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries)];
        string[] missing = [.. s_features.Where(f => !has.Contains(f))];
        if (missing.Length > 0)
        {
            findings.Problem("cpu", "", $"lacks {string.Join(", ", missing)}, which the engine is compiled for (x86-64-v3)", has.Contains("hypervisor")
                ? "give the virtual machine the host's processor (QEMU: -cpu host)" : "compile the engine for this processor: dotnet publish dataplane/host/EngineHost.csproj -p:IlcInstructionSet=x86-64-v2");
            return;
        }
        if (!has.Contains("constant_tsc") || !has.Contains("nonstop_tsc"))
        {
            findings.Warning("cpu", "", "its time-stamp counter does not run at one speed: times in statistics are rough", has.Contains("hypervisor") ? "give the virtual machine an invariant TSC (QEMU: -cpu host,+invtsc)" : "none");
            return;
        }
        findings.Ok("cpu", "", "x86-64-v3, invariant time-stamp counter");
    }

    private void NoCores()
    {
        string text = "workers are not pinned, and share CPUs with everything else";
        if (_isolated.Length > 0)
        {
            findings.Warning("cores", "", $"{text}; {Text(_isolated)} are isolated and idle", $"dataplane run --workers {plan.Workers} --cores {Text(_isolated.Take(plan.Workers))}");
        }
        else if (plan.WantsCards)
        {
            int[] chosen = Suggestion();
            findings.Warning("cores", "", text, chosen.Length == 0 ? "a machine with more CPUs" : $"{IsolationOf(chosen)}; then: dataplane run --workers {plan.Workers} --cores {Text(chosen.Take(plan.Workers))}");
        }
        else
        {
            findings.Ok("cores", "", $"{_online.Length} online; {text}");
        }
    }

    private void Isolation()
    {
        int[] shared = [.. plan.Cores.Where(c => !_isolated.Contains(c))];
        if (shared.Length == 0)
        {
            int[] ticking = [.. plan.Cores.Except(List(files.Read($"{Cpus}/nohz_full")))];
            if (ticking.Length > 0)
            {
                findings.Warning("cores", Text(plan.Cores), $"isolated; the clock still interrupts {Text(ticking)}", IsolationOf(plan.Cores));
                return;
            }
            findings.Ok("cores", Text(plan.Cores), "isolated, without the clock's interrupts");
            return;
        }
        findings.Warning("cores", Text(shared), "not isolated: other processes run there too", IsolationOf(plan.Cores));
    }

    /// <summary>Two workers on one core's two threads are slower than on two cores, and so is a worker beside anything else.</summary>
    private void Siblings()
    {
        foreach (int cpu in plan.Cores)
        {
            int[] others = [.. SiblingsOf(cpu).Where(s => s != cpu && (plan.Cores.Contains(s) ? s > cpu : !_isolated.Contains(s)))];
            if (others.Length > 0)
            {
                findings.Warning("cores", $"{cpu}", $"shares its core with CPU {Text(others)}", $"use one thread per core; to switch the other off: echo 0 > {Cpus}/cpu{others[0]}/online");
            }
        }
    }

    private void Nodes()
    {
        foreach (PciFunction card in cards.Where(c => c.NumaNode >= 0))
        {
            int[] near = List(files.Read($"/sys/devices/system/node/node{card.NumaNode}/cpulist"));
            int[] far = [.. plan.Cores.Where(c => near.Length > 0 && !near.Contains(c))];
            if (far.Length > 0)
            {
                findings.Warning("cores", Text(far), $"not on NUMA node {card.NumaNode}, which {card.Address} is on: each packet crosses between sockets", $"choose --cores from {Text(near)}");
            }
        }
    }

    private void Governors()
    {
        int[] slow = [.. plan.Cores.Where(c => files.Read($"{Cpus}/cpu{c}/cpufreq/scaling_governor") is { } governor && governor != "performance")];
        if (slow.Length > 0)
        {
            findings.Warning("frequency", Text(slow), $"governor {files.Read($"{Cpus}/cpu{slow[0]}/cpufreq/scaling_governor")}: the CPU slows down between bursts", $"cpupower -c {Text(slow)} frequency-set -g performance");
        }
    }

    /// <summary>CPUs for the workers, with what shares their cores: the last ones near the card, the first core left to the host.</summary>
    private int[] Suggestion()
    {
        int node = cards.Select(c => c.NumaNode).FirstOrDefault(n => n >= 0, -1);
        int[] near = node < 0 ? [] : List(files.Read($"/sys/devices/system/node/node{node}/cpulist"));
        int[] candidates = [.. _online.Where(c => (near.Length == 0 || near.Contains(c)) && !SiblingsOf(0).Contains(c))];
        var chosen = new SortedSet<int>();
        foreach (int cpu in Enumerable.Reverse(candidates))
        {
            if (chosen.Count(c => SiblingsOf(c)[0] == c) >= plan.Workers)
            {
                break;
            }
            chosen.UnionWith(SiblingsOf(cpu));
        }
        // One thread of each core first.
        return [.. chosen.OrderBy(c => SiblingsOf(c)[0] == c ? 0 : 1).ThenBy(c => c)];
    }

    private int[] SiblingsOf(int cpu) => List(files.Read($"{Cpus}/cpu{cpu}/topology/thread_siblings_list")) is { Length: > 0 } siblings ? siblings : [cpu];

    private static string IsolationOf(IEnumerable<int> cpus) => BootArguments.Command($"isolcpus={Text(cpus)} nohz_full={Text(cpus)} rcu_nocbs={Text(cpus)}");

    private static int[] List(string? text)
    {
        try
        {
            return string.IsNullOrEmpty(text) || text == "(null)" ? [] : [.. CpuAffinity.Parse(text).Order()];
        }
        catch (FormatException)
        {
            return [];
        }
    }

    private static string Text(IEnumerable<int> cpus) => CpuAffinity.Format([.. cpus.Order()]);
}
