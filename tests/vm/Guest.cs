using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using System.Text.RegularExpressions;

namespace Dataplane.VmTests;

/// <summary>An emulated network card of a virtual machine.</summary>
/// <param name="Model">QEMU's name: "e1000e", "virtio-net-pci".</param>
/// <param name="Wire">Cards with the same number are on one Ethernet, which nothing else is on.</param>
internal sealed record Card(string Model, int Wire);

/// <summary>
/// A virtual machine of QEMU with two processors, huge pages and network cards. It runs Debian's kernel on this build's own
/// programs, all in memory, and does what it is told over its second serial port (see <c>init</c>). It needs no root here, and
/// touches nothing of this machine's network. Where there is no KVM the processors are emulated, which takes ten times longer.
/// </summary>
internal sealed partial class Guest : IAsyncDisposable
{
    private const int Processors = 2, Megabytes = 1536;
    private const string Log = "/tmp/run.log", ControlPid = "/tmp/run.pid";
    private const string Machine = "q35,kernel-irqchip=split";
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(5), BootTime = TimeSpan.FromSeconds(20);

    /// <summary>KVM where it works: in a virtual machine it may be there, and not run a kernel.</summary>
    private static readonly Lazy<string> Accelerator = new(() => CanUseKvm() ? "kvm" : "tcg,thread=multi");

    private readonly Process _qemu;
    private readonly DirectoryInfo _directory;
    private readonly StringBuilder _messages = new();
    private Socket? _line;

    private Guest(DirectoryInfo directory, Process qemu)
    {
        _directory = directory;
        _qemu = qemu;
        qemu.ErrorDataReceived += (_, e) => _messages.AppendLine(e.Data);
        qemu.BeginErrorReadLine();
    }

    /// <summary>The directory with <c>vmlinuz</c> and <c>initramfs</c>, or null.</summary>
    public static string? Files => Environment.GetEnvironmentVariable("DATAPLANE_VM") is { Length: > 0 } set ? set : null;

    public static string Program => "qemu-system-x86_64";

    /// <summary>Where a card is: the first is 0000:00:02.0. Virtual functions have addresses of the bus's second half.</summary>
    public static string AddressOf(int card) => $"0000:00:{card + 2:x2}.0";

    /// <summary>Boots, and loads the kernel's drivers of the cards.</summary>
    /// <param name="iommu">With an IOMMU (Intel's), interrupt remapping included.</param>
    /// <param name="cards">By address, see <see cref="AddressOf"/>.</param>
    public static Task<Guest> StartAsync(bool iommu, params Card[] cards) => StartAsync(iommu, nodes: 1, cards);

    /// <param name="iommu">With an IOMMU (Intel's), interrupt remapping included.</param>
    /// <param name="nodes">NUMA nodes: 2 for a processor and half of the memory on each.</param>
    /// <param name="cards">By address, see <see cref="AddressOf"/>.</param>
    public static async Task<Guest> StartAsync(bool iommu, int nodes, params Card[] cards)
    {
        DirectoryInfo directory = Directory.CreateTempSubdirectory("dpvm");
        var start = new ProcessStartInfo(Program, [.. Arguments(directory.FullName, iommu, cards), .. Numa(nodes)]) { RedirectStandardError = true };
        var guest = new Guest(directory, Process.Start(start)!);
        try
        {
            await guest.ConnectAsync();
            await guest.RunAsync("modprobe -a e1000 e1000e igb igbvf virtio_pci virtio_net tun");
            return guest;
        }
        catch
        {
            await guest.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a shell command in the machine.</summary>
    /// <returns>What it wrote, to either output.</returns>
    /// <exception cref="Xunit.Sdk.XunitException">It ended with another code.</exception>
    public async Task<string> RunAsync(string command, int code = 0)
    {
        (int actual, string output) = await TryAsync(command);
        Assert.True(actual == code, $"$ {command}\nended with {actual}, not {code}:\n{output}\n{Console()}");
        return output;
    }

    /// <summary>Runs a shell command in the machine, however it ends.</summary>
    public async Task<(int Code, string Output)> TryAsync(string command)
    {
        await _line!.SendAsync(Encoding.UTF8.GetBytes(command + "\n"));
        string text = await ReadAsync(End());
        Match end = End().Match(text);
        return (int.Parse(end.Groups[1].Value, System.Globalization.CultureInfo.InvariantCulture), text[..end.Index].TrimEnd());
    }

    /// <summary>The driver that has a card, "" for none.</summary>
    public async Task<string> DriverOfAsync(int card) => (await RunAsync($"basename $(readlink /sys/bus/pci/devices/{AddressOf(card)}/driver || true)")).Trim();

    /// <summary>The kernel's name for a card: "eth0".</summary>
    public async Task<string> InterfaceOfAsync(int card) =>
        Path.GetFileName((await RunAsync($"ls -d /sys/bus/pci/devices/{AddressOf(card)}/net/* /sys/bus/pci/devices/{AddressOf(card)}/virtio*/net/* 2>/dev/null || true")).Trim());

    /// <summary>Makes a namespace on a card, as the machine on the other end of the wire.</summary>
    public async Task AddPeerAsync(string name, int card, string address)
    {
        string device = await InterfaceOfAsync(card);
        await RunAsync($"ip netns add {name} && ip link set {device} netns {name} && ip -n {name} addr add {address} dev {device} && ip -n {name} link set {device} up");
    }

    /// <summary>Sets the card of a peer down, so that it sends nothing, or up.</summary>
    public Task SetPeerAsync(string name, bool isUp) =>
        RunAsync($"ip netns exec {name} sh -c 'for d in $(ls /sys/class/net); do [ $d = lo ] || ip link set $d {(isUp ? "up" : "down")}; done'");

    /// <summary>Pings until it is answered, from a namespace, or from the machine itself: a link needs its time to come up.</summary>
    public Task PingAsync(string? from, string to)
    {
        string ping = $"{(from is null ? "" : $"ip netns exec {from} ")}ping -c 1 -W 1 {to}";
        return RunAsync($"for i in $(seq 40); do {ping} >/dev/null && exit 0; done; {ping}; ip addr; ip neigh; cat {Log} /run/dataplane/*/engine.log; exit 1");
    }

    public Task WriteAsync(string path, string text) => RunAsync($"echo {Convert.ToBase64String(Encoding.UTF8.GetBytes(text))} | base64 -d >{path}");

    /// <summary>Starts the switch, and waits until it serves.</summary>
    public async Task StartSwitchAsync(string config, string options = "")
    {
        await WriteAsync("/tmp/switch.yaml", config);
        await RunAsync(
            $"dataplane run --hugepages --memory 64 --config /tmp/switch.yaml {options} >{Log} 2>&1 & pid=$!; echo $pid >{ControlPid}; "
            + $"until grep -q Ready: {Log}; do sleep 0.2; [ -e /proc/$pid ] || {{ cat {Log}; exit 1; }}; done");
    }

    /// <summary>Ends the switch as an operator does, with all that it gives back.</summary>
    public Task StopSwitchAsync() => RunAsync($"kill $(cat {ControlPid}); while [ -e /proc/$(cat {ControlPid}) ]; do sleep 0.2; done; ! [ -e /run/dataplane ] || {{ cat {Log}; ls -lR /run/dataplane; exit 1; }}");

    /// <summary>Kills processes of the switch; they do not notice.</summary>
    public Task KillAsync(bool control, bool engine) =>
        RunAsync($"for pid in {(control ? $"$(cat {ControlPid})" : "")} {(engine ? "$(cat /run/dataplane/default/engine.pid)" : "")}; do kill -9 $pid; while [ -e /proc/$pid ]; do sleep 0.1; done; done");

    public async ValueTask DisposeAsync()
    {
        _line?.Dispose();
        if (!_qemu.HasExited)
        {
            _qemu.Kill();
            await _qemu.WaitForExitAsync();
        }
        _qemu.Dispose();
        _directory.Delete(recursive: true);
    }

    private async Task ConnectAsync()
    {
        var waited = Stopwatch.StartNew();
        string path = Path.Combine(_directory.FullName, "line");
        while (true)
        {
            _line = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            try
            {
                await _line.ConnectAsync(new UnixDomainSocketEndPoint(path));
                break;
            }
            catch (SocketException) when (!_qemu.HasExited && waited.Elapsed < Patience)
            {
                _line.Dispose();
                await Task.Delay(100);
            }
        }
        await ReadAsync(Ready());
    }

    private async Task<string> ReadAsync(Regex end)
    {
        using var patience = new CancellationTokenSource(Patience);
        var text = new StringBuilder();
        byte[] buffer = new byte[4096];
        while (!end.IsMatch(text.ToString()))
        {
            try
            {
                int length = await _line!.ReceiveAsync(buffer, patience.Token);
                text.Append(Encoding.UTF8.GetString(buffer, 0, length > 0 ? length : throw new SocketException((int)SocketError.Shutdown)));
            }
            catch (SocketException)
            {
                await _qemu.WaitForExitAsync(patience.Token);
                Assert.Fail($"the machine ended; it wrote:\n{text}\n{Console()}");
            }
            catch (OperationCanceledException)
            {
                Assert.Fail($"no answer within {Patience.TotalMinutes} minutes; so far:\n{text}\n{Console()}");
            }
        }
        return text.ToString();
    }

    /// <summary>What QEMU and the kernel have to say.</summary>
    private string Console()
    {
        string log = Path.Combine(_directory.FullName, "console");
        return $"{_messages}{(File.Exists(log) ? File.ReadAllText(log) : "")}";
    }

    private static IEnumerable<string> Arguments(string directory, bool iommu, Card[] cards)
    {
        // The kernel tries out whether the timer's interrupts come, and panics when they are late, as on a busy machine.
        string kernel = "console=ttyS0 quiet panic=-1 hugepages=128 mitigations=off no_timer_check";
        List<string> arguments =
        [
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", Machine, "-accel", Accelerator.Value,
            "-cpu", "max", "-smp", $"{Processors}", "-m", $"{Megabytes}", "-kernel", Path.Combine(Files!, "vmlinuz"), "-initrd", Path.Combine(Files!, "initramfs"),
            "-append", iommu ? $"{kernel} intel_iommu=on" : kernel,
            "-serial", $"file:{directory}/console", "-chardev", $"socket,id=line,path={directory}/line,server=on,wait=off", "-serial", "chardev:line",
        ];
        if (iommu)
        {
            arguments.AddRange(["-device", "intel-iommu,intremap=on,aw-bits=48"]);
        }
        for (int i = 0; i < cards.Length; i++)
        {
            string more = iommu && cards[i].Model.StartsWith("virtio", StringComparison.Ordinal) ? ",iommu_platform=on" : "";
            arguments.AddRange(["-netdev", $"hubport,id=wire{i},hubid={cards[i].Wire}", "-device", $"{cards[i].Model},netdev=wire{i},mac=52:54:00:00:00:{i + 1:x2},addr=0x{i + 2:x2}{more}"]);
        }
        return arguments;
    }

    /// <summary>Whether a kernel comes to the point where it finds that it has no disk, and restarts.</summary>
    private static bool CanUseKvm()
    {
        if (!File.Exists("/dev/kvm"))
        {
            return false;
        }
        using Process trial = Process.Start(new ProcessStartInfo(Program,
        [
            "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", Machine, "-accel", "kvm", "-cpu", "max", "-m", "512",
            "-kernel", Path.Combine(Files!, "vmlinuz"), "-append", "panic=-1",
        ]) { RedirectStandardError = true })!;
        bool hasEnded = trial.WaitForExit(BootTime);
        if (!hasEnded)
        {
            trial.Kill();
            trial.WaitForExit();
        }
        return hasEnded && trial.ExitCode == 0;
    }

    private static IEnumerable<string> Numa(int nodes) => nodes == 1 ? [] : Enumerable.Range(0, nodes).SelectMany(i => (string[])
    [
        "-object", $"memory-backend-ram,id=memory{i},size={Megabytes / nodes}M",
        "-numa", $"node,nodeid={i},cpus={i * Processors / nodes},memdev=memory{i}",
    ]);

    [GeneratedRegex(@"^ready\n", RegexOptions.Multiline)]
    private static partial Regex Ready();

    [GeneratedRegex(@"^=exit (\d+)\n$", RegexOptions.Multiline)]
    private static partial Regex End();
}
