using System.Text.Json;
using System.Text.Json.Serialization;
using Dataplane.Interop.Linux;

namespace Dataplane.Control.Pci;

/// <summary>What was before a function was bound, or before its number of virtual functions was changed.</summary>
/// <param name="Address">The function.</param>
/// <param name="Driver">Its driver, or null for none.</param>
/// <param name="DriverOverride">The one driver that was allowed to have it, or null for any.</param>
/// <param name="VirtualFunctions">How many it had, when that is what was changed; else null.</param>
/// <param name="Port">The port that it was bound for, or null when the operator did so.</param>
internal sealed record BindingEntry(string Address, string? Driver, string? DriverOverride, int? VirtualFunctions, string? Port);

/// <summary>
/// The file of what an instance took from the host, and how it was. An entry is on the disk before the host is changed, and
/// goes when it is as it was: whoever finds the file after a crash can give everything back.
/// </summary>
internal sealed class BindingLedger
{
    private static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower, WriteIndented = true, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    };

    private readonly string _path, _boot;
    private readonly List<BindingEntry> _entries;

    private BindingLedger(string path, string boot, List<BindingEntry> entries)
    {
        _path = path;
        _boot = boot;
        _entries = entries;
    }

    private sealed record Content(string Boot, List<BindingEntry> Entries);

    /// <summary>What there is to be given back, oldest first.</summary>
    public IReadOnlyList<BindingEntry> Entries => _entries;

    /// <summary>Reads the file. One of an earlier boot says nothing: the machine began anew.</summary>
    /// <exception cref="IOException">It cannot be read, or is no such file.</exception>
    public static BindingLedger Open(string path, SystemFiles files)
    {
        string boot = files.Read("/proc/sys/kernel/random/boot_id") ?? "";
        if (!File.Exists(path))
        {
            return new BindingLedger(path, boot, []);
        }
        try
        {
            Content? content = JsonSerializer.Deserialize<Content>(File.ReadAllText(path), Json);
            return new BindingLedger(path, boot, content is not null && content.Boot == boot ? content.Entries : []);
        }
        catch (JsonException e)
        {
            throw new IOException($"{path} is not the list of bound devices that it should be ({e.Message}); give the devices back by hand, then delete it", e);
        }
    }

    /// <summary>The entry of a function: of its driver, or of its virtual functions.</summary>
    public BindingEntry? Find(string address, bool virtualFunctions) => _entries.Find(e => e.Address == address && e.VirtualFunctions is not null == virtualFunctions);

    /// <summary>Notes what was, on the disk too.</summary>
    public void Add(BindingEntry entry)
    {
        _entries.Add(entry);
        Save();
    }

    /// <summary>All is as the entry says again.</summary>
    public void Remove(BindingEntry entry)
    {
        _entries.Remove(entry);
        Save();
    }

    /// <summary>The whole file or the old one, whatever happens meanwhile; none when there is nothing to say.</summary>
    private void Save()
    {
        if (_entries.Count == 0)
        {
            File.Delete(_path);
            return;
        }
        Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
        string next = _path + ".new";
        using (var file = new FileStream(next, FileMode.Create, FileAccess.Write))
        {
            JsonSerializer.Serialize(file, new Content(_boot, _entries), Json);
            file.Flush(flushToDisk: true);
        }
        File.Move(next, _path, overwrite: true);
    }
}
