using Dataplane.Interop.Linux;

namespace Dataplane.SystemTests.Harness;

/// <summary>The programs under test, as <c>./build.sh build</c> leaves them.</summary>
public static class Programs
{
    /// <summary>The source tree that the tests were built in.</summary>
    public static string Root { get; } = FindRoot();

    public static string Control { get; } = Built("control", "dataplane");

    public static string Engine { get; } = Built("engine", "dataplane-engine");

    public static string Shim { get; } = Built("native", "libdpshim.so");

    /// <summary>Says clearly what is missing, rather than let every test fail in a way of its own.</summary>
    public static void Require()
    {
        if (LinuxProcess.EffectiveUserId != 0)
        {
            throw new InvalidOperationException("The system tests make network namespaces and TAP devices: run them as root, with `sudo ./build.sh test system`.");
        }
        foreach (string program in new[] { Control, Engine, Shim })
        {
            if (!File.Exists(program))
            {
                throw new InvalidOperationException($"{program} is missing: build it with `./build.sh build`.");
            }
        }
    }

    private static string Built(string directory, string file) => Path.Combine(Root, "out", directory, file);

    private static string FindRoot()
    {
        for (DirectoryInfo? directory = new(AppContext.BaseDirectory); directory is not null; directory = directory.Parent)
        {
            if (File.Exists(Path.Combine(directory.FullName, "Dataplane.sln")))
            {
                return directory.FullName;
            }
        }
        throw new InvalidOperationException($"{AppContext.BaseDirectory} lies in no source tree: there is no Dataplane.sln above it.");
    }
}
