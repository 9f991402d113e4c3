namespace Dataplane.Interop.Linux;

/// <summary>
/// The files in which the kernel describes the machine (/proc, /sys, /dev), below a root directory: "/" itself, or a tree of the
/// same shape, captured from another machine or made by a test. Paths are absolute, as on the machine.
/// </summary>
public class SystemFiles(string root = "/")
{
    /// <summary>This machine's own.</summary>
    public static SystemFiles Machine { get; } = new();

    /// <summary>Where the tree is.</summary>
    public string Root { get; } = root;

    /// <summary>Whether the files are this machine's, so that system calls speak of the same machine.</summary>
    public bool IsMachine => Path.GetFullPath(Root) == "/";

    /// <summary>A file's text without the white space around it; null when it is missing or may not be read.</summary>
    public string? Read(string path)
    {
        try
        {
            return File.ReadAllText(Of(path)).Trim();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null; // an attribute may exist and yet fail to read: "speed" of a link that is down
        }
    }

    /// <summary>A file with a decimal number, which may be negative; null when there is none.</summary>
    public long? ReadNumber(string path) =>
        long.TryParse(Read(path), System.Globalization.CultureInfo.InvariantCulture, out long number) ? number : null;

    /// <summary>Whether there is such a file, directory or link.</summary>
    public bool Exists(string path) => Path.Exists(Of(path)) || new FileInfo(Of(path)).LinkTarget is not null;

    /// <summary>The last part of what a symbolic link names ("../../bus/pci/drivers/ixgbe": "ixgbe"); null when it is none.</summary>
    public string? LinkName(string path) => LinkTarget(path) is { } target ? Path.GetFileName(target) : null;

    /// <summary>What a symbolic link says, as it stands there; null when it is none, or may not be read.</summary>
    public string? LinkTarget(string path)
    {
        try
        {
            return new FileInfo(Of(path)).LinkTarget;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }

    /// <summary>Names in a directory, in order; none when it is missing or may not be read.</summary>
    public IReadOnlyList<string> List(string directory)
    {
        try
        {
            return [.. Directory.EnumerateFileSystemEntries(Of(directory)).Select(e => Path.GetFileName(e)).Order(StringComparer.Ordinal)];
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    /// <summary>Writes into an attribute of the kernel, which acts on it before this returns.</summary>
    /// <exception cref="IOException">The kernel refuses; its reason is the message.</exception>
    /// <exception cref="UnauthorizedAccessException">Not root.</exception>
    public virtual void Write(string path, string text)
    {
        // As sysfs wants it: an existing file, one write.
        using var file = new FileStream(Of(path), FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(System.Text.Encoding.ASCII.GetBytes(text));
    }

    protected string Of(string path) => Path.Combine(Root, path.TrimStart('/'));
}
