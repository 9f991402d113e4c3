using System.Runtime.InteropServices;

namespace Dataplane.Interop.Dpdk;

/// <summary>
/// Finds and loads the shim, <c>libdpshim.so</c>, which is compiled on the machine it runs on. Looked in, in this order:
/// the directory that the environment variable <c>DATAPLANE_NATIVE_DIR</c> names (then nowhere else), the directory of
/// the executable, and <c>out/native</c> of the source tree that the executable lies in.
/// </summary>
public static class DpdkLibrary
{
    /// <summary>The environment variable that names the shim's directory.</summary>
    public const string DirectoryVariable = "DATAPLANE_NATIVE_DIR";

    private const string ImportName = "dpshim";
    private const string FileName = "libdpshim.so";

    private static readonly Lock Gate = new();
    private static nint handle;

    /// <summary>The operating system's handle of the loaded shim. Loads it if need be.</summary>
    internal static nint Handle
    {
        get
        {
            Load();
            return handle;
        }
    }

    /// <summary>
    /// Loads the shim; does nothing when it is loaded. Every call into <see cref="Shim"/> needs this first
    /// (<see cref="Eal.Init"/> does it). Any thread may call it.
    /// </summary>
    /// <exception cref="DpdkUnavailableException">The shim or DPDK is not there; the message says what to do.</exception>
    public static void Load()
    {
        lock (Gate)
        {
            if (handle != 0) return;
            handle = Open(Find(Environment.GetEnvironmentVariable(DirectoryVariable), AppContext.BaseDirectory));
            NativeLibrary.SetDllImportResolver(typeof(Shim).Assembly, static (name, _, _) => name == ImportName ? handle : 0);
        }
    }

    /// <summary>The shim's path.</summary>
    internal static string Find(string? configuredDirectory, string baseDirectory)
    {
        if (!string.IsNullOrEmpty(configuredDirectory))
        {
            var path = Path.Combine(configuredDirectory, FileName);
            return File.Exists(path) ? path : throw new DpdkUnavailableException(
                $"{DirectoryVariable} is set to '{configuredDirectory}', but there is no {FileName} in it. " +
                "Build it with: ./build.sh build, or unset the variable.");
        }

        var beside = Path.Combine(baseDirectory, FileName);
        if (File.Exists(beside)) return beside;
        for (var directory = new DirectoryInfo(baseDirectory); directory is not null; directory = directory.Parent)
        {
            var built = Path.Combine(directory.FullName, "out", "native", FileName);
            if (File.Exists(built)) return built;
        }
        throw new DpdkUnavailableException(
            $"{FileName} is not built: it is neither in '{baseDirectory}' nor in out/native of a directory above it. " +
            "Build it with: ./build.sh build (which needs DPDK: apt-get install dpdk libdpdk-dev).");
    }

    /// <summary>Loads the shim at a path, with the linker's own words when that fails.</summary>
    internal static nint Open(string path)
    {
        try
        {
            return NativeLibrary.Load(path);
        }
        catch (Exception failure) when (failure is DllNotFoundException or BadImageFormatException)
        {
            // The runtime wraps the linker's message in several lines of general advice.
            var reason = failure.Message.Split('\n').LastOrDefault(line => line.Contains(".so", StringComparison.Ordinal))?.Trim();
            // A library of DPDK that the linker cannot find: removed, or replaced by another release since the build.
            var cure = reason is not null && reason.Contains("librte_", StringComparison.Ordinal)
                ? "DPDK is not installed, or not in the release that the shim was built for. Install it and rebuild: " +
                  "apt-get install dpdk libdpdk-dev && ./build.sh build"
                : "Rebuild it with: ./build.sh build";
            throw new DpdkUnavailableException($"'{path}' cannot be loaded: {reason ?? failure.Message}. {cure}", failure);
        }
    }
}
