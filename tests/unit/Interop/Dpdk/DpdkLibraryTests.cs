using Dataplane.Interop.Dpdk;

namespace Dataplane.UnitTests.Interop.Dpdk;

public sealed class DpdkLibraryTests : IDisposable
{
    private readonly string directory = Shell.TemporaryDirectory();

    public void Dispose() => Directory.Delete(directory, recursive: true);

    [Fact]
    public void TheConfiguredDirectoryComesFirstAndAlone()
    {
        var executable = Directory.CreateDirectory(Path.Combine(directory, "bin")).FullName;
        File.WriteAllText(Path.Combine(executable, "libdpshim.so"), "");
        var configured = Directory.CreateDirectory(Path.Combine(directory, "configured")).FullName;

        var failure = Assert.Throws<DpdkUnavailableException>(() => DpdkLibrary.Find(configured, executable));
        Assert.Contains("DATAPLANE_NATIVE_DIR", failure.Message);
        Assert.Contains(configured, failure.Message);

        File.WriteAllText(Path.Combine(configured, "libdpshim.so"), "");
        Assert.Equal(Path.Combine(configured, "libdpshim.so"), DpdkLibrary.Find(configured, executable));
        Assert.Equal(Path.Combine(executable, "libdpshim.so"), DpdkLibrary.Find(null, executable));
    }

    [Fact]
    public void TheBuildOutputOfATreeAboveIsFound()
    {
        var deep = Directory.CreateDirectory(Path.Combine(directory, "a", "bin", "Debug")).FullName;
        var built = Path.Combine(Directory.CreateDirectory(Path.Combine(directory, "out", "native")).FullName, "libdpshim.so");
        File.WriteAllText(built, "");

        Assert.Equal(built, DpdkLibrary.Find("", deep));
    }

    [Fact]
    public void AnUnbuiltShimNamesTheBuildCommand()
    {
        var failure = Assert.Throws<DpdkUnavailableException>(() => DpdkLibrary.Find(null, directory));
        Assert.Contains("./build.sh build", failure.Message);
    }

    [Fact]
    public void AMissingDpdkLibraryIsNamedWithThePackageToInstall()
    {
        // A shim that was linked against a release of DPDK which has gone since.
        Link("librte_gone.so.99", "int gone(void) { return 0; }");
        var shim = Link("libdpshim.so", "int gone(void); int use(void) { return gone(); }", Path.Combine(directory, "librte_gone.so.99"));
        File.Delete(Path.Combine(directory, "librte_gone.so.99"));

        var failure = Assert.Throws<DpdkUnavailableException>(() => DpdkLibrary.Open(shim));
        Assert.Contains("librte_gone.so.99", failure.Message);
        Assert.Contains("apt-get install dpdk libdpdk-dev", failure.Message);
    }

    [Fact]
    public void AFileThatIsNoLibraryAsksForARebuild()
    {
        var path = Path.Combine(directory, "libdpshim.so");
        File.WriteAllText(path, "not a library");

        var failure = Assert.Throws<DpdkUnavailableException>(() => DpdkLibrary.Open(path));
        Assert.Contains("./build.sh build", failure.Message);
        Assert.DoesNotContain("apt-get", failure.Message);
    }

    private string Link(string name, string code, params string[] libraries)
    {
        var source = Path.Combine(directory, name + ".c");
        var output = Path.Combine(directory, name);
        File.WriteAllText(source, code);
        Shell.Run("gcc", ["-shared", "-fPIC", source, .. libraries, $"-Wl,-soname,{name}", "-o", output]);
        return output;
    }
}
