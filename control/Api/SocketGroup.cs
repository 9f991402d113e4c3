using System.Runtime.InteropServices;

namespace Dataplane.Control.Api;

/// <summary>A group of the system whose members may use the API.</summary>
public sealed partial class SocketGroup
{
    private const UnixFileMode ReadWrite =
        UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.GroupWrite;

    private SocketGroup(uint id)
    {
        Id = id;
    }

    public uint Id { get; }

    /// <summary>The group of a name, or of a number, or null when there is none.</summary>
    public static SocketGroup? Find(string name)
    {
        if (uint.TryParse(name, out uint id))
        {
            return new SocketGroup(id);
        }
        // /etc/group: name:password:number:members
        string[]? entry = File.ReadLines("/etc/group").Select(l => l.Split(':')).FirstOrDefault(f => f.Length >= 3 && f[0] == name);
        return entry is not null && uint.TryParse(entry[2], out id) ? new SocketGroup(id) : null;
    }

    /// <summary>Lets the group use a socket, and nobody else but its owner.</summary>
    public void Give(string path)
    {
        if (ChangeOwner(path, uint.MaxValue, Id) != 0)
        {
            throw new IOException($"{path} cannot be given to group {Id}: {Marshal.GetLastPInvokeErrorMessage()}");
        }
        File.SetUnixFileMode(path, ReadWrite);
    }

    [LibraryImport("libc", EntryPoint = "chown", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint owner, uint group);
}

/// <summary>The process's file creation mask, for as long as this lives.</summary>
internal sealed partial class FileCreationMask(uint mask) : IDisposable
{
    private readonly uint _before = Set(mask);

    public void Dispose() => Set(_before);

    [LibraryImport("libc", EntryPoint = "umask")]
    private static partial uint Set(uint mask);
}
