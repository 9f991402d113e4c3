using Dataplane.Interop.Linux;

namespace Dataplane.Ports;

/// <summary>
/// The socket file of a memif server. Its driver does not remove what a server left that was killed; and when the name is taken it
/// leaves half a device behind, whose number DPDK never gives out again. So the way is cleared before the driver is asked.
/// </summary>
public static class MemifSocket
{
    private const string DefaultPath = "/run/memif.sock";

    /// <summary>
    /// Removes a file that nobody listens on any more. Does nothing for other drivers, for a client, for a socket without a file,
    /// and where this process listens: several devices may share a socket.
    /// </summary>
    /// <param name="devargs">A device's name and its parameters.</param>
    /// <exception cref="IOException">There is a file that is no socket, or another process listens.</exception>
    public static void Clear(string devargs)
    {
        Dictionary<string, string> parameters = [];
        foreach (string[] pair in devargs.Split(',').Skip(1).Select(part => part.Split('=', 2)))
        {
            parameters[pair[0]] = pair.Length == 2 ? pair[1] : "";
        }
        if (!devargs.StartsWith("net_memif", StringComparison.Ordinal) || parameters.GetValueOrDefault("role") is not ("server" or "master")
            || parameters.GetValueOrDefault("socket-abstract") != "no")
        {
            return;
        }
        string path = parameters.GetValueOrDefault("socket", DefaultPath);
        bool free;
        try
        {
            free = SeqPacketListener.Clear(path, $"memif server at '{path}'");
        }
        catch (LinuxException e)
        {
            throw new IOException(e.Message, e);
        }
        if (!free && !IsOurs(path))
        {
            throw new IOException($"memif server at '{path}': another process listens there");
        }
    }

    /// <summary>
    /// Whether the socket of that name is a descriptor of this process. Found without a connection: the driver of the other end
    /// may not survive one that is closed at once.
    /// </summary>
    private static bool IsOurs(string path)
    {
        HashSet<string> ours = [.. Directory.EnumerateFileSystemEntries("/proc/self/fd").Select(fd => new FileInfo(fd).LinkTarget ?? "")];
        // Num RefCount Protocol Flags Type St Inode Path
        return File.ReadLines("/proc/self/net/unix").Select(line => line.Split(' ', 8, StringSplitOptions.RemoveEmptyEntries))
            .Any(columns => columns.Length == 8 && columns[7] == path && ours.Contains($"socket:[{columns[6]}]"));
    }
}
