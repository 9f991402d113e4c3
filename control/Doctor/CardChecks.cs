using System.Globalization;
using Dataplane.Control.Pci;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Doctor;

/// <summary>Network cards: the driver that each has, who uses it, queues, MTU, link, and the slot it is in.</summary>
internal sealed class CardChecks(SystemFiles files, IHostNetwork network, Findings findings, DoctorPlan plan)
{
    private readonly IReadOnlyList<HostInterface> _interfaces = network.List();

    public void Run()
    {
        if (!plan.WantsCards)
        {
            IReadOnlyList<PciFunction> all = PciFunction.ListNetwork(files);
            findings.Ok("cards", "", all.Count == 0 ? "none on a PCI bus" : $"{string.Join(", ", all.Select(f => f.Address))}; name those that the switch is to have, and they are looked at: dataplane doctor {all[^1].Address}");
            return;
        }
        foreach (string address in plan.Devices)
        {
            if (PciFunction.Find(files, address) is { } function)
            {
                Examine(function);
            }
            else
            {
                findings.Problem("device", address, "there is no such PCI device", "dataplane device list");
            }
        }
    }

    private void Examine(PciFunction function)
    {
        Driver(function);
        Group(function);
        Slot(function);
        // A virtual function has the link of its physical one, and at most its MTU.
        PciFunction wire = function.PhysicalFunction is { } physical ? PciFunction.Find(files, physical) ?? function : function;
        foreach (string name in wire.Interfaces)
        {
            Link(function, name, isOwn: ReferenceEquals(wire, function));
            Mtu(function, name);
        }
        foreach (string name in function.Interfaces)
        {
            Queues(function, name);
        }
        if (wire.Interfaces.Count == 0)
        {
            findings.Ok("link", function.Address, "known to the program that has it: dataplane port list");
        }
    }

    private void Driver(PciFunction function)
    {
        string address = function.Address;
        if (function.IsForPrograms)
        {
            string? user = PciUsers.Of(files, function);
            findings.Ok("driver", address, $"{function.Driver}{(user is null ? "" : $", opened by {user}")}");
        }
        else if (BindingGuard.IsShared(function))
        {
            findings.Ok("driver", address, $"{function.Driver}, which DPDK uses it with");
        }
        else if (BindingGuard.WhyNotBind(function, network, force: false) is { } problem)
        {
            findings.Problem("driver", address, problem.Message, problem.Fix.Replace("`", "", StringComparison.Ordinal));
        }
        else
        {
            findings.Warning("driver", address, $"{function.Driver ?? "none"}{Names(function)}: the kernel has it", $"dataplane device bind {address}; or let the port do so: --dpdk {address} --bind");
        }
    }

    private string Names(PciFunction function) => function.Interfaces.Count == 0 ? "" : $" ({string.Join(", ", function.Interfaces)})";

    private void Group(PciFunction function)
    {
        PciFunction[] kernels = [.. PciFunction.OthersInGroup(files, function).Where(o => o.Driver is not null && !o.IsForPrograms)];
        if (kernels.Length > 0)
        {
            findings.Problem(
                "iommu group", function.Address, $"group {function.IommuGroup} has {string.Join(", ", kernels.Select(o => $"{o.Address} ({o.Driver})"))} too: a program has all of it or nothing",
                $"dataplane device bind {string.Join(' ', kernels.Where(o => o.IsNetwork).Select(o => o.Address))}; or put the card into another slot");
        }
    }

    /// <summary>A slot that is narrower or slower than the card is the usual reason for half the rate.</summary>
    private void Slot(PciFunction function)
    {
        string directory = PciFunction.DirectoryOf(function.PhysicalFunction ?? function.Address);
        long? width = files.ReadNumber($"{directory}/current_link_width"), most = files.ReadNumber($"{directory}/max_link_width");
        double? speed = Speed(files.Read($"{directory}/current_link_speed")), fastest = Speed(files.Read($"{directory}/max_link_speed"));
        if (width is null or 0 || most is null || speed is null || fastest is null)
        {
            return;
        }
        string has = string.Create(CultureInfo.InvariantCulture, $"PCIe x{width} at {speed} GT/s");
        if (width < most || speed < fastest)
        {
            findings.Warning("slot", function.Address, string.Create(CultureInfo.InvariantCulture, $"{has}; the card could do x{most} at {fastest} GT/s"), "put it into another slot");
        }
        else
        {
            findings.Ok("slot", function.Address, has);
        }
    }

    private void Link(PciFunction function, string name, bool isOwn)
    {
        string directory = $"/sys/class/net/{name}";
        bool up = _interfaces.FirstOrDefault(i => i.Name == name)?.IsUp ?? false;
        if (!up)
        {
            if (isOwn)
            {
                findings.Ok("link", function.Address, $"{name} is down: whether there is a link is known when a port has it");
            }
            else
            {
                findings.Problem("link", function.Address, $"{name}, its physical function, is down, and with it all virtual ones", $"ip link set {name} up");
            }
        }
        else if (files.ReadNumber($"{directory}/carrier") != 1)
        {
            findings.Warning("link", function.Address, $"{name} is up and has no link", $"ethtool {name}");
        }
        else
        {
            findings.Ok("link", function.Address, $"{name}: {(files.ReadNumber($"{directory}/speed") is > 0 and var speed ? $"{speed} Mb/s" : "up")}");
        }
    }

    private void Mtu(PciFunction function, string name)
    {
        if (files.ReadNumber($"/sys/class/net/{name}/mtu") is not { } mtu)
        {
            return;
        }
        if (mtu >= plan.Mtu)
        {
            findings.Ok("mtu", function.Address, $"{name}: {mtu}");
        }
        else if (function.PhysicalFunction is not null)
        {
            findings.Problem("mtu", function.Address, $"{name}, its physical function, has {mtu}, less than {plan.Mtu}: larger frames do not reach the virtual one", $"ip link set {name} mtu {plan.Mtu}");
        }
        else
        {
            findings.Ok("mtu", function.Address, $"{name}: {mtu} with the kernel; a port sets its own ({plan.Mtu})");
        }
    }

    private void Queues(PciFunction function, string name)
    {
        int queues = files.List($"/sys/class/net/{name}/queues").Count(q => q.StartsWith("rx-", StringComparison.Ordinal));
        if (queues == 0)
        {
            return;
        }
        if (queues < plan.Workers)
        {
            findings.Warning("queues", function.Address, $"{name} has {queues} for {plan.Workers} workers: some get no packets from it", $"ethtool -l {name} tells how many there can be; or: dataplane run --workers {queues}");
        }
        else
        {
            findings.Ok("queues", function.Address, $"{name}: {queues}");
        }
    }

    private static double? Speed(string? text) =>
        double.TryParse(text?.Split(' ')[0], CultureInfo.InvariantCulture, out double speed) ? speed : null;
}
