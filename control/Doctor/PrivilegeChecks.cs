using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Doctor;

/// <summary>What the kernel lets the processes do: root, its capabilities, locked memory, TAP devices.</summary>
internal sealed class PrivilegeChecks(SystemFiles files, Findings findings)
{
    private const int NetAdmin = 12, IpcLock = 14, SysAdmin = 21;

    public void Run()
    {
        ulong capabilities = ulong.TryParse(Status("CapEff"), NumberStyles.HexNumber, CultureInfo.InvariantCulture, out ulong set) ? set : 0;
        Privileges(capabilities);
        LockedMemory(capabilities);
        Tun();
    }

    private void Privileges(ulong capabilities)
    {
        // Real, effective, saved, file system.
        if (Status("Uid")?.Split('\t', StringSplitOptions.RemoveEmptyEntries) is not [_, "0", ..])
        {
            findings.Problem("privileges", "", "not root: TAP devices, namespaces and cards need it", "sudo dataplane run");
            return;
        }
        List<string> missing = [];
        foreach ((int bit, string name) in new[] { (NetAdmin, "NET_ADMIN"), (SysAdmin, "SYS_ADMIN") })
        {
            if ((capabilities >> bit & 1) == 0)
            {
                missing.Add(name);
            }
        }
        if (missing.Count > 0)
        {
            findings.Problem("privileges", "", $"root without {string.Join(" and ", missing)}, as in a container", $"docker run {string.Join(' ', missing.Select(m => $"--cap-add {m}"))}");
            return;
        }
        findings.Ok("privileges", "", "root");
    }

    /// <summary>VFIO locks all memory that a card may reach, and counts it, unless the process may lock what it likes.</summary>
    private void LockedMemory(ulong capabilities)
    {
        if ((capabilities >> IpcLock & 1) != 0)
        {
            findings.Ok("locked memory", "", "not limited (IPC_LOCK)");
            return;
        }
        string? line = files.Read("/proc/self/limits")?.Split('\n').FirstOrDefault(l => l.StartsWith("Max locked memory", StringComparison.Ordinal));
        string limit = line?["Max locked memory".Length..].Split(' ', StringSplitOptions.RemoveEmptyEntries)[0] ?? "";
        if (limit == "unlimited")
        {
            findings.Ok("locked memory", "", "not limited");
            return;
        }
        string amount = long.TryParse(limit, CultureInfo.InvariantCulture, out long bytes) ? $"{bytes >> 20} MiB" : "an unknown amount";
        findings.CardsLack("locked memory", "", $"limited to {amount}, of which VFIO needs all that cards reach", "ulimit -l unlimited; of a service: LimitMEMLOCK=infinity; of a container: --ulimit memlock=-1");
    }

    private void Tun()
    {
        if (files.Exists("/dev/net/tun"))
        {
            findings.Ok("tap", "", "/dev/net/tun is there");
        }
        else
        {
            findings.Problem("tap", "", "/dev/net/tun is missing", "modprobe tun; in a container: docker run --device /dev/net/tun");
        }
    }

    private string? Status(string field) =>
        files.Read("/proc/self/status")?.Split('\n').FirstOrDefault(l => l.StartsWith(field + ":", StringComparison.Ordinal))?[(field.Length + 1)..].Trim();
}
