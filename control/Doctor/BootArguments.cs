namespace Dataplane.Control.Doctor;

/// <summary>Arguments of the kernel, which need a reboot.</summary>
internal static class BootArguments
{
    /// <summary>Adds them to those that GRUB gives the kernel, on Debian and Ubuntu.</summary>
    public static string Command(string arguments) => $"sed -i 's/^GRUB_CMDLINE_LINUX=\"/&{arguments} /' /etc/default/grub && update-grub && reboot";
}
