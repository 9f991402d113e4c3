using System.Text.RegularExpressions;

namespace Dataplane.Interop.Linux;

/// <summary>Addresses of PCI functions as the kernel writes them, "0000:03:00.1": domain, bus, device, function, in hexadecimal.</summary>
public static partial class PciAddress
{
    /// <summary>Reads an address, also one without a domain ("03:00.1", as lspci prints it), in either case.</summary>
    /// <returns>The address in the kernel's writing, or null when the text is none.</returns>
    public static string? Parse(string text)
    {
        Match match = Form().Match(text);
        return !match.Success ? null : $"{(match.Groups[1].Success ? match.Groups[1].Value : "0000")}:{match.Groups[2].Value}".ToLowerInvariant();
    }

    /// <summary>The address in a device's arguments for DPDK, "0000:03:00.1,…" or "pci:0000:03:00.1,…"; null for other devices.</summary>
    public static string? OfDevargs(string devargs)
    {
        string name = devargs.Split(',', 2)[0];
        return Parse(name.StartsWith("pci:", StringComparison.Ordinal) ? name["pci:".Length..] : name);
    }

    [GeneratedRegex(@"\A(?:([0-9A-Fa-f]{4,8}):)?([0-9A-Fa-f]{2}:[01][0-9A-Fa-f]\.[0-7])\z")]
    private static partial Regex Form();
}
