using Dataplane.Interop.Linux;

namespace Dataplane.Control.Doctor;

/// <summary>Hugepages for packet buffers, on the NUMA nodes of the cards, and shared memory for the segment.</summary>
internal sealed class MemoryChecks(SystemFiles files, Findings findings, DoctorPlan plan, IReadOnlyList<PciFunction> cards)
{
    private const long SegmentBytes = 64 << 20;

    public void Run()
    {
        int[] nodes = [.. cards.Select(c => c.NumaNode).Where(n => n >= 0 && files.Exists($"/sys/devices/system/node/node{n}/hugepages")).Distinct().Order()];
        if (nodes.Length == 0)
        {
            Hugepages("", "/sys/kernel/mm/hugepages");
        }
        foreach (int node in nodes)
        {
            Hugepages(files.Exists("/sys/devices/system/node/node1") ? $"node {node}" : "", $"/sys/devices/system/node/node{node}/hugepages");
        }
        Limit();
        SharedMemory();
    }

    /// <summary>DPDK takes the largest ones first. It needs no mounted hugetlbfs: the engine's memory is in no file.</summary>
    private void Hugepages(string about, string directory)
    {
        List<(long KiB, long Free, long All)> sizes =
        [
            .. files.List(directory).Select(d => (Name: d, KiB: long.TryParse(d.Replace("hugepages-", "", StringComparison.Ordinal).Replace("kB", "", StringComparison.Ordinal), out long size) ? size : 0))
                .Where(d => d.KiB > 0).OrderByDescending(d => d.KiB)
                .Select(d => (d.KiB, files.ReadNumber($"{directory}/{d.Name}/free_hugepages") ?? 0, files.ReadNumber($"{directory}/{d.Name}/nr_hugepages") ?? 0)),
        ];
        if (sizes.Count == 0)
        {
            findings.CardsLack("hugepages", about, "this kernel has none", "another kernel");
            return;
        }
        string found = string.Join(", ", sizes.Where(s => s.All > 0).Select(s => $"{s.Free} of {s.All} of {Size(s.KiB)} free"));
        long free = sizes.Sum(s => s.Free * s.KiB) >> 10, all = sizes.Sum(s => s.All * s.KiB) >> 10;
        if (free >= plan.Memory)
        {
            findings.Ok("hugepages", about, found);
            return;
        }
        (long kib, _, long count) = sizes[^1];
        long wanted = count + ((((long)plan.Memory - free) << 10) + kib - 1) / kib;
        string text = found.Length == 0 ? $"none, of which packet buffers need {plan.Memory} MiB" : $"{found}; packet buffers need {plan.Memory} MiB{(all >= plan.Memory ? ": others use them" : "")}";
        findings.CardsLack("hugepages", about, text, $"echo {wanted} > {directory}/hugepages-{kib}kB/nr_hugepages; for good: echo vm.nr_hugepages={wanted} > /etc/sysctl.d/60-dataplane.conf");
    }

    /// <summary>A container may use fewer than there are: Kubernetes gives none that are not asked for.</summary>
    private void Limit()
    {
        string? group = files.Read("/proc/self/cgroup")?.Split('\n').FirstOrDefault(l => l.StartsWith("0::", StringComparison.Ordinal))?[3..];
        for (string? path = group; !string.IsNullOrEmpty(path) && path != "/"; path = Path.GetDirectoryName(path))
        {
            if (files.Read($"/sys/fs/cgroup{path}/hugetlb.2MB.max") is { } text && long.TryParse(text, out long bytes) && bytes >> 20 < plan.Memory)
            {
                findings.CardsLack("hugepages", $"cgroup {path}", $"limited to {bytes >> 20} MiB, packet buffers need {plan.Memory} MiB", $"in a pod's resources: limits: {{hugepages-2Mi: {plan.Memory}Mi}}");
                return;
            }
        }
    }

    private void SharedMemory()
    {
        if (!files.Exists("/dev/shm"))
        {
            findings.Problem("shared memory", "/dev/shm", "missing; the segment is there", "mkdir /dev/shm && mount -t tmpfs tmpfs /dev/shm");
            return;
        }
        // Only the running kernel can be asked how much is free.
        long free = files.IsMachine ? new DriveInfo("/dev/shm").AvailableFreeSpace : long.MaxValue;
        if (free < SegmentBytes)
        {
            findings.Warning("shared memory", "/dev/shm", $"{free >> 20} MiB free; large tables need more", "mount -o remount,size=1G /dev/shm; of a container: docker run --shm-size 1g");
            return;
        }
        findings.Ok("shared memory", "/dev/shm", files.IsMachine ? $"{free >> 20} MiB free" : "there");
    }

    private static string Size(long kib) => kib >= 1 << 20 ? $"{kib >> 20} GiB" : kib >= 1 << 10 ? $"{kib >> 10} MiB" : $"{kib} KiB";
}
