using System.Diagnostics;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>Drivers of the kernel that may have to be loaded first.</summary>
internal interface IKernelModules
{
    /// <summary>Loads a module with what it needs; nothing when it is there already, or is part of the kernel.</summary>
    /// <returns>Why that failed, or null.</returns>
    string? Load(string module);
}

/// <summary>By modprobe(8).</summary>
internal sealed class KernelModules(SystemFiles files) : IKernelModules
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    public string? Load(string module)
    {
        if (files.Exists($"/sys/module/{module.Replace('-', '_')}"))
        {
            return null;
        }
        try
        {
            using var modprobe = Process.Start(new ProcessStartInfo("modprobe", [module]) { UseShellExecute = false, RedirectStandardError = true, RedirectStandardOutput = true })!;
            string said = modprobe.StandardError.ReadToEnd();
            return !modprobe.WaitForExit(Patience) ? $"modprobe {module} does not end" : modprobe.ExitCode == 0 ? null : said.Trim().Split('\n')[0];
        }
        catch (System.ComponentModel.Win32Exception e)
        {
            return $"modprobe cannot be run: {e.Message}";
        }
    }
}
