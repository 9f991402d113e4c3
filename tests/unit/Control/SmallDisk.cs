using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests.Control;

/// <summary>A file system of a few KiB. Only root can make one.</summary>
internal sealed class SmallDisk : IDisposable
{
    /// <param name="path">Where; a directory that is made here.</param>
    /// <param name="size">As mount takes it: "512k".</param>
    public SmallDisk(string path, string size)
    {
        Path = path;
        Directory.CreateDirectory(path);
        Shell.Run("mount", "-t", "tmpfs", "-o", $"size={size}", "tmpfs", path);
    }

    public string Path { get; }

    /// <param name="how">"ro" or "rw".</param>
    public void Remount(string how) => Shell.Run("mount", "-o", $"remount,{how}", Path);

    public void Dispose() => Shell.Run("umount", Path);
}
