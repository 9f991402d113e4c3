using Dataplane.Control.Cli.V1;
using Dataplane.Control.Doctor;
using Dataplane.UnitTests.Control.Pci;
using Level = Dataplane.Control.Cli.V1.Finding.Types.Level;

namespace Dataplane.UnitTests.Control.Doctor;

/// <summary>The examination of machines in a directory: one that lacks nothing, and what is said when one thing is missing.</summary>
public sealed class MachineDoctorTests : IDisposable
{
    private const string Card = "0000:03:00.0", Cpu = "/sys/devices/system/cpu", Node = "/sys/devices/system/node/node1";

    private static readonly DoctorPlan Plan = new() { Devices = [Card], Workers = 2, Cores = [2, 3], Mtu = 9000 };

    private readonly FakeMachine _machine = Ready();

    private DpdkAnswer _dpdk = new("DPDK 22.11.11", null);

    public void Dispose() => _machine.Dispose();

    [Fact]
    public void AMachineThatLacksNothingIsWell()
    {
        DoctorReport report = Examine(Plan);
        Assert.All(report.Findings, f => Assert.True(f.Level == Level.Ok && f.Fix.Length == 0, f.ToString()));
        Assert.True(report.Ok);
        Assert.Equal(
            ["cores", "cpu", "dpdk", "driver", "hugepages", "iommu", "link", "locked memory", "privileges", "shared memory", "slot", "tap", "vfio"],
            report.Findings.Select(f => f.Check).Order());
    }

    public static TheoryData<string, Action<object>, string, string, string, string> Lacks() => new()
    {
        { "not root", m => Status(m, uid: 1000), "Problem privileges", "not root", "sudo dataplane run", "" },
        { "root in a container", m => Status(m, capabilities: "0000000000000420"), "Problem privileges", "root without NET_ADMIN and SYS_ADMIN", "docker run --cap-add NET_ADMIN --cap-add SYS_ADMIN", "" },
        { "little locked memory", m => { Status(m, capabilities: "0000000000203000"); Of(m).Put("/proc/self/limits", "Limit  Soft  Hard\nMax locked memory         8388608              8388608              bytes"); }, "Problem locked memory", "limited to 8 MiB", "ulimit -l unlimited", "Warning" },
        { "no TUN", m => Of(m).Remove("/dev/net/tun"), "Problem tap", "/dev/net/tun is missing", "modprobe tun", "" },
        { "no shared memory", m => Of(m).Remove("/dev/shm"), "Problem shared memory /dev/shm", "missing", "mount -t tmpfs tmpfs /dev/shm", "" },

        { "an old processor", m => Of(m).Put("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : " + Flags.Replace(" avx2 bmi1", "", StringComparison.Ordinal)), "Problem cpu", "lacks avx2, bmi1,", "IlcInstructionSet", "" },
        { "a poor virtual processor", m => Of(m).Put("/proc/cpuinfo", "flags : sse2 hypervisor"), "Problem cpu", "lacks cx16", "-cpu host", "" },
        { "a wandering clock", m => Of(m).Put("/proc/cpuinfo", "flags : " + Flags.Replace("nonstop_tsc", "", StringComparison.Ordinal)), "Warning cpu", "does not run at one speed", "none", "" },
        { "a CPU that is off", m => { Of(m).Put($"{Cpu}/online", "0-2"); Of(m).Put($"{Cpu}/cpu3/online", "0"); }, "Problem cores 3", "not online; there are 0-2", $"echo 1 > {Cpu}/cpu3/online", "" },
        { "no isolation", m => Of(m).Put($"{Cpu}/isolated", ""), "Warning cores 2-3", "not isolated", "isolcpus=2-3 nohz_full=2-3 rcu_nocbs=2-3", "" },
        { "ticks", m => Of(m).Put($"{Cpu}/nohz_full", "(null)"), "Warning cores 2-3", "the clock still interrupts 2-3", "nohz_full=2-3", "" },
        { "two threads of one core", m => { Of(m).Put($"{Cpu}/cpu2/topology/thread_siblings_list", "2-3"); Of(m).Put($"{Cpu}/cpu3/topology/thread_siblings_list", "2-3"); }, "Warning cores 2", "shares its core with CPU 3", "echo 0 >", "" },
        { "the other socket's CPUs", m => { Of(m).Put($"{Node}/cpulist", "4-7"); Of(m).Put($"{Cpu}/online", "0-7"); }, "Warning cores 2-3", "not on NUMA node 1, which 0000:03:00.0 is on", "--cores from 4-7", "" },
        { "a saving governor", m => Of(m).Put($"{Cpu}/cpu2/cpufreq/scaling_governor", "powersave"), "Warning frequency 2", "governor powersave", "cpupower -c 2 frequency-set -g performance", "" },

        { "no hugepages", m => Pages(m, free: 0, all: 0), "Problem hugepages node 1", "none, of which packet buffers need 256 MiB", $"echo 128 > {Node}/hugepages/hugepages-2048kB/nr_hugepages", "" },
        { "too few hugepages", m => Pages(m, free: 28, all: 28), "Problem hugepages node 1", "28 of 28 of 2 MiB free; packet buffers need 256 MiB", "echo 128 >", "" },
        { "hugepages of others", m => Pages(m, free: 28, all: 228), "Problem hugepages node 1", "28 of 228 of 2 MiB free; packet buffers need 256 MiB: others use them", "echo 328 >", "" },
        { "a pod without hugepages", m => { Of(m).Put("/proc/self/cgroup", "0::/kubepods/pod7/c9"); Of(m).Put("/sys/fs/cgroup/kubepods/pod7/hugetlb.2MB.max", "0"); Of(m).Put("/sys/fs/cgroup/kubepods/pod7/c9/hugetlb.2MB.max", "max"); }, "Problem hugepages cgroup /kubepods/pod7", "limited to 0 MiB", "hugepages-2Mi: 256Mi", "Warning" },

        { "no IOMMU, Intel", m => NoGroups(m), "Problem iommu", "off, or none", "intel_iommu=on iommu=pt", "Warning" },
        { "no IOMMU, Intel, asked for", m => { NoGroups(m); Of(m).Put("/proc/cmdline", "quiet intel_iommu=on"); }, "Problem iommu", "off, or none", "switch VT-d on in the firmware: the kernel was told to use it", "Warning" },
        { "no IOMMU, AMD", m => { NoGroups(m); Of(m).Put("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : " + Flags); }, "Problem iommu", "off, or none", "AMD-Vi", "Warning" },
        { "no IOMMU, virtual", m => { NoGroups(m); Of(m).Put("/proc/cpuinfo", "vendor_id : AuthenticAMD\nflags : hypervisor " + Flags); }, "Problem iommu", "off, or none", "dataplane device bind --driver uio_pci_generic DEVICE", "Warning" },
        { "interrupts not remapped", m => Of(m).Put("/sys/class/iommu/dmar0/intel-iommu/ecap", "f42"), "Problem iommu dmar0", "does not remap interrupts", "allow_unsafe_interrupts", "Warning" },
        { "interrupts not remapped, allowed", m => { Of(m).Put("/sys/class/iommu/dmar0/intel-iommu/ecap", "f42"); Of(m).Put("/sys/module/vfio_iommu_type1/parameters/allow_unsafe_interrupts", "Y"); }, "Warning iommu dmar0", "may be used nevertheless", "firmware", "" },
        { "no VFIO", m => { Of(m).Remove("/sys/bus/pci/drivers/vfio-pci"); Of(m).Put("/lib/modules/6.1.0/modules.dep", "kernel/drivers/net/tun.ko:"); }, "Problem vfio", "this kernel has no vfio-pci", "linux-modules-extra", "Warning" },
        { "no VFIO in this container", m => Of(m).Remove("/dev/vfio"), "Problem vfio", "/dev/vfio/vfio is missing", "--device /dev/vfio", "Warning" },

        { "no such card", m => Of(m).Remove("/sys/bus/pci/devices/0000:03:00.0"), "Problem device 0000:03:00.0", "there is no such PCI device", "dataplane device list", "" },
        { "the kernel's card", m => { Kernels(m); Of(m).Use("eth1", up: false); }, "Warning driver 0000:03:00.0", "ixgbe (eth1): the kernel has it", "dataplane device bind 0000:03:00.0", "" },
        { "the host's card", m => { Kernels(m); Of(m).Use("eth1", addresses: "192.0.2.1/24"); }, "Problem driver 0000:03:00.0", "has 192.0.2.1/24: the host uses it", "ip link set eth1 down", "" },
        { "the default route's card", m => { Kernels(m); Of(m).Use("eth1", defaultRoute: true); }, "Problem driver 0000:03:00.0", "carries this machine's default route", "use another device", "" },
        { "no link", m => { Kernels(m); Of(m).Use("eth1"); Of(m).Put("/sys/class/net/eth1/carrier", "0"); }, "Warning link 0000:03:00.0", "eth1 is up and has no link", "ethtool eth1", "" },
        { "one queue", m => { Kernels(m); Of(m).Remove("/sys/class/net/eth1/queues/rx-1"); }, "Warning queues 0000:03:00.0", "eth1 has 1 for 2 workers", "--workers 1", "" },
        { "a shared IOMMU group", m => Of(m).AddFunction("0000:03:00.1", "ixgbe", "eth2", group: 7), "Problem iommu group 0000:03:00.0", "group 7 has 0000:03:00.1 (ixgbe) too", "dataplane device bind 0000:03:00.1", "" },
        { "a narrow slot", m => Of(m).Put("/sys/bus/pci/devices/0000:03:00.0/current_link_width", "4"), "Warning slot 0000:03:00.0", "PCIe x4 at 8 GT/s; the card could do x8 at 8 GT/s", "another slot", "" },
    };

    [Theory]
    [MemberData(nameof(Lacks))]
    public void WhatIsMissingIsSaidWithItsRemedy(string name, Action<object> take, string what, string text, string fix, string withoutCards)
    {
        take(_machine);
        DoctorReport report = Examine(Plan);
        Finding found = Assert.Single(report.Findings, f => f.Level != Level.Ok && $"{f.Level} {f.Check} {f.About}".TrimEnd() == what);
        Assert.Contains(text, found.Text, StringComparison.Ordinal);
        Assert.Contains(fix, found.Fix, StringComparison.Ordinal);
        Assert.True(report.Ok == !what.StartsWith("Problem", StringComparison.Ordinal) || report.Findings.Any(f => f.Level == Level.Problem), name);
        if (withoutCards.Length > 0)
        {
            // Only cards need it: a switch of TAP devices does without.
            Finding same = Assert.Single(Examine(new DoctorPlan()).Findings, f => f.Level != Level.Ok && f.Check == found.Check);
            Assert.Equal(withoutCards, same.Level.ToString());
        }
    }

    [Fact]
    public void ALaptopIsWellWithoutWhatOnlyCardsNeed()
    {
        NoGroups(_machine);
        _machine.Put($"{Cpu}/isolated", "");
        _machine.Remove("/sys/bus/pci/drivers/vfio-pci");
        _machine.Remove("/sys/bus/pci/devices/0000:03:00.0");
        _machine.Put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
        _machine.Put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0");
        DoctorReport report = Examine(new DoctorPlan());
        Assert.True(report.Ok);
        Assert.Equal(["hugepages", "iommu", "vfio"], report.Findings.Where(f => f.Level == Level.Warning).Select(f => f.Check).Order());
        Assert.All(report.Findings.Where(f => f.Level != Level.Ok), f => Assert.NotEmpty(f.Fix));
    }

    [Fact]
    public void WithoutDpdkTheEngineDoesNotStart()
    {
        _dpdk = new DpdkAnswer(null, "libdpshim.so was not found");
        Finding found = Assert.Single(Examine(new DoctorPlan()).Findings, f => f.Level == Level.Problem);
        Assert.Equal(("dpdk", "libdpshim.so was not found"), (found.Check, found.Text));
    }

    /// <summary>The first core is the host's, and both threads of a core go together.</summary>
    [Theory]
    [InlineData(1, "3,7", "--workers 1 --cores 3")]
    [InlineData(2, "2-3,6-7", "--workers 2 --cores 2-3")]
    public void CoresToIsolateAreProposed(int workers, string isolate, string run)
    {
        _machine.Put($"{Cpu}/online", "0-7");
        _machine.Put($"{Cpu}/isolated", "");
        _machine.Put($"{Node}/cpulist", "0-7");
        for (int cpu = 0; cpu < 8; cpu++)
        {
            _machine.Put($"{Cpu}/cpu{cpu}/topology/thread_siblings_list", $"{cpu % 4},{cpu % 4 + 4}");
        }
        Finding found = Assert.Single(Examine(Plan with { Cores = [], Workers = workers }).Findings, f => f.Check == "cores");
        Assert.Equal(Level.Warning, found.Level);
        Assert.Contains($"isolcpus={isolate} ", found.Fix, StringComparison.Ordinal);
        Assert.EndsWith(run, found.Fix, StringComparison.Ordinal);
    }

    [Fact]
    public void AVirtualFunctionNeedsItsPhysicalOneUpAndItsMtu()
    {
        const string Physical = "0000:04:00.0";
        _machine.AddFunction(Physical, "ixgbe", "eth3", group: 9, totalVfs: 4, node: 1);
        _machine.Binder.SetVirtualFunctions(Physical, 1, force: false);
        string part = _machine.Function(Physical).VirtualFunctions[0];
        _machine.Put("/sys/class/net/eth3/mtu", "1500");
        Finding[] found = [.. Examine(Plan with { Devices = [part] }).Findings.Where(f => f.Level == Level.Problem)];
        Assert.Equal(["ip link set eth3 up", "ip link set eth3 mtu 9000"], found.Select(f => f.Fix));

        _machine.Use("eth3");
        _machine.Put("/sys/class/net/eth3/carrier", "1");
        _machine.Put("/sys/class/net/eth3/speed", "10000");
        _machine.Put("/sys/class/net/eth3/mtu", "9000");
        found = [.. Examine(Plan with { Devices = [part] }).Findings.Where(f => f.About == part)];
        Assert.Contains(found, f => f is { Level: Level.Ok, Check: "link", Text: "eth3: 10000 Mb/s" });
        Assert.Contains(found, f => f is { Level: Level.Ok, Check: "mtu", Text: "eth3: 9000" });
    }

    private const string Flags = "constant_tsc nonstop_tsc cx16 lahf_lm popcnt pni ssse3 sse4_1 sse4_2 avx avx2 bmi1 bmi2 f16c fma movbe xsave";

    private DoctorReport Examine(DoctorPlan plan) => new MachineDoctor(_machine, _machine, _dpdk).Examine(plan);

    /// <summary>A server of two sockets with a card for programs on the second one, prepared by the book.</summary>
    private static FakeMachine Ready()
    {
        var machine = new FakeMachine();
        Status(machine);
        machine.Put("/proc/self/limits", "Max locked memory         unlimited            unlimited            bytes");
        machine.Put("/proc/cpuinfo", "vendor_id : GenuineIntel\nflags : " + Flags);
        machine.Put("/proc/cmdline", "quiet");
        machine.Put("/proc/sys/kernel/osrelease", "6.1.0");
        machine.Put("/dev/net/tun", "");
        machine.Put("/dev/shm/.keep", "");
        machine.Put("/dev/vfio/vfio", "");
        machine.Put($"{Cpu}/online", "0-3");
        machine.Put($"{Cpu}/isolated", "2-3");
        machine.Put($"{Cpu}/nohz_full", "2-3");
        machine.Put($"{Node}/cpulist", "0-3");
        Pages(machine, free: 512, all: 512);
        machine.Put("/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "512");
        machine.Put("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "512");
        machine.Put("/sys/class/iommu/dmar0/intel-iommu/ecap", "f4a");
        machine.Load("vfio-pci");
        machine.AddFunction(Card, "ixgbe", "eth1", group: 7, node: 1);
        for (int queue = 0; queue < 2; queue++)
        {
            machine.Put($"/sys/class/net/eth1/queues/rx-{queue}/rps_cpus", "0");
        }
        machine.Put("/sys/class/net/eth1/mtu", "9000");
        machine.Put("/sys/class/net/eth1/carrier", "1");
        machine.Put("/sys/class/net/eth1/speed", "10000");
        string function = $"/sys/bus/pci/devices/{Card}";
        machine.Put($"{function}/current_link_width", "8");
        machine.Put($"{function}/max_link_width", "8");
        machine.Put($"{function}/current_link_speed", "8.0 GT/s PCIe");
        machine.Put($"{function}/max_link_speed", "8.0 GT/s PCIe");
        machine.Use("eth1", up: false);
        machine.Binder.Bind(Card, "vfio-pci", force: false);
        return machine;
    }

    private static FakeMachine Of(object machine) => (FakeMachine)machine;

    private static void Kernels(object machine) => Of(machine).Binder.Unbind(Card);

    private static void Status(object machine, int uid = 0, string capabilities = "000001ffffffffff") =>
        Of(machine).Put("/proc/self/status", $"Name:\tdataplane\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities}");

    private static void Pages(object machine, int free, int all)
    {
        Of(machine).Put($"{Node}/hugepages/hugepages-2048kB/free_hugepages", $"{free}");
        Of(machine).Put($"{Node}/hugepages/hugepages-2048kB/nr_hugepages", $"{all}");
    }

    private static void NoGroups(object machine) => Of(machine).Remove("/sys/kernel/iommu_groups");
}
