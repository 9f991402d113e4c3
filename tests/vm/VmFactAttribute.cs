using System.Diagnostics;

namespace Dataplane.VmTests;

/// <summary>A test in a virtual machine, skipped where none was made (<c>./build.sh test vm</c> makes it).</summary>
internal sealed class VmFactAttribute : FactAttribute
{
    private static readonly Lazy<string> Devices = new(() => Text("-device help"));

    public VmFactAttribute()
    {
        if (Guest.Files is null)
        {
            Skip = "needs a virtual machine: ./build.sh test vm";
        }
    }

    /// <summary>A card that not every QEMU emulates.</summary>
    public string Card
    {
        get => field ?? "";
        set
        {
            field = value;
            if (Skip is null && !Devices.Value.Contains($"name \"{value}\"", StringComparison.Ordinal))
            {
                Skip = $"this QEMU emulates no {value}";
            }
        }
    }

    private static string Text(string arguments)
    {
        using Process qemu = Process.Start(new ProcessStartInfo(Guest.Program, arguments) { RedirectStandardOutput = true })!;
        string text = qemu.StandardOutput.ReadToEnd();
        qemu.WaitForExit();
        return text;
    }
}
