using System.Globalization;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>
/// Which process has a function open. To take a function away from under a program is to wait until it lets go, in the kernel
/// and for as long as it likes: that is asked before.
/// </summary>
internal static class PciUsers
{
    /// <summary>"process 4711 (dataplane-engine)", or null.</summary>
    public static string? Of(SystemFiles files, PciFunction function)
    {
        string[] nodes = [.. Nodes(files, function)];
        if (nodes.Length == 0)
        {
            return null;
        }
        foreach (string pid in files.List("/proc").Where(p => int.TryParse(p, NumberStyles.None, CultureInfo.InvariantCulture, out _)))
        {
            if (files.List($"/proc/{pid}/fd").Any(fd => files.LinkTarget($"/proc/{pid}/fd/{fd}") is { } open && nodes.Contains(open)))
            {
                return $"process {pid} ({files.Read($"/proc/{pid}/comm")})";
            }
        }
        return null;
    }

    /// <summary>The device nodes by which programs have it.</summary>
    private static IEnumerable<string> Nodes(SystemFiles files, PciFunction function)
    {
        if (function.Driver == "vfio-pci" && function.IommuGroup is { } group)
        {
            yield return $"/dev/vfio/{group}";
            yield return $"/dev/vfio/noiommu-{group}";
        }
        foreach (string device in files.List($"{PciFunction.DirectoryOf(function.Address)}/vfio-dev"))
        {
            yield return $"/dev/vfio/devices/{device}";
        }
        if (function.Uio is { } uio)
        {
            yield return $"/dev/{uio}";
        }
    }
}
