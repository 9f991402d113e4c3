using System.Diagnostics;
using Dataplane.UnitTests.Interop.Linux;

namespace Dataplane.UnitTests;

/// <summary>
/// What build.sh installs and says on machines that lack things. The script is the real one, in a directory of its own; what it
/// asks the machine with (apt-get, pkg-config, dotnet, curl) are scripts of the test in front of the machine's own.
/// </summary>
public sealed class BuildScriptTests : IDisposable
{
    private readonly TempDirectory _repository = new(), _machine = new(), _home = new();

    public BuildScriptTests()
    {
        string root = Interop.Dpdk.Shell.RepositoryRoot();
        foreach (string name in new[] { "build.sh", "global.json" })
        {
            File.Copy(Path.Combine(root, name), _repository.File(name));
        }
        // A machine that has everything. What apt-get is asked for is in the file `installed`.
        Has("pkg-config");
        Has("dotnet");
        Has("curl", "exit 1");
        Has("apt-cache", "[ \"$2\" = gcc ]");
        Has("apt-get", $"echo \"$@\" >> '{Installed}'");
        Has("sudo", "exec \"$@\"");
    }

    private string Installed => _machine.File("installed");

    public void Dispose()
    {
        _repository.Dispose();
        _machine.Dispose();
        _home.Dispose();
    }

    [Fact]
    public void NothingIsSaidOrAskedWhenEverythingIsThere()
    {
        Assert.Equal((0, ""), Run("setup", "build"));
        Assert.False(File.Exists(Installed));
        Assert.False(Directory.Exists(_repository.File("out")));
    }

    [Fact]
    public void AMissingPackageIsNamedAndInstalled()
    {
        Has("pkg-config", $"test -e '{Installed}'");
        Assert.Equal((0, "Installing: libdpdk-dev\n"), Run("setup", "build"));
        Assert.Equal("install -y --no-install-recommends libdpdk-dev\n", File.ReadAllText(Installed));
        Assert.Equal((0, ""), Run("setup", "build"));
    }

    [Fact]
    public void WhatCannotBeInstalledIsSaidWithTheCommand()
    {
        Has("pkg-config", "exit 1");
        Has("apt-get", "echo 'E: no network'; exit 100");
        (int exitCode, string said) = Run("setup", "build");
        Assert.Equal(1, exitCode);
        Assert.Contains("E: no network", said, StringComparison.Ordinal);
        Assert.Contains("As root: apt-get install -y --no-install-recommends libdpdk-dev", said, StringComparison.Ordinal);
    }

    [Fact]
    public void TheSdkIsThePackageOfTheDistributionWhereItHasOne()
    {
        Has("dotnet", $"test -e '{Installed}'");
        Has("apt-cache");
        Assert.Equal((0, "Installing: dotnet-sdk-10.0\n"), Run("setup", "build"));
        Assert.Equal("install -y --no-install-recommends dotnet-sdk-10.0\n", File.ReadAllText(Installed));
        Assert.Equal((0, ""), Run("setup", "build"));
    }

    [Fact]
    public void TheSdkComesFromMicrosoftIntoTheHomeDirectoryWhereThereIsNoPackage()
    {
        Has("dotnet", "exit 1");
        // The script that is fetched installs into the directory that it is told.
        Has("curl", """
            [ "$1 $2 $4" = "-fsSL -o https://dot.net/v1/dotnet-install.sh" ]
            cat > "$3" <<'END'
            [ "$1 $2 $3 $5" = "--channel 10.0 --install-dir --no-path" ]
            mkdir -p "$4"
            printf '#!/bin/sh\necho 10.0.100\n' > "$4/dotnet"
            chmod +x "$4/dotnet"
            END
            """);
        (int exitCode, string said) = Run("setup", "build");
        Assert.True(exitCode == 0, said);
        Assert.EndsWith($"Installing: Microsoft's .NET 10 SDK, into {_home.File(".dotnet")}\n", said, StringComparison.Ordinal);
        Assert.Equal((0, ""), Run("setup", "build"));
    }

    [Fact]
    public void AnSdkThatCannotBeFetchedIsSaidWithOtherWays()
    {
        Has("dotnet", "exit 1");
        Has("curl", "echo 'curl: (6) Could not resolve host' >&2; exit 6");
        (int exitCode, string said) = Run("setup", "build");
        Assert.Equal(1, exitCode);
        Assert.Contains("Could not resolve host", said, StringComparison.Ordinal);
        Assert.Contains("https://learn.microsoft.com/dotnet/core/install/linux", said, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("setup")]
    [InlineData("build")]
    [InlineData("test")]
    [InlineData("demo")]
    [InlineData("bench")]
    [InlineData("generate")]
    [InlineData("publish")]
    [InlineData("clean")]
    public void EachCommandHasHelpAndRefusesWhatItDoesNotKnow(string command)
    {
        (int exitCode, string help) = Run(command, "--help");
        Assert.Equal(0, exitCode);
        Assert.StartsWith($"Usage: ./build.sh {command}", help, StringComparison.Ordinal);
        Assert.Contains($"\n  {command} ", Run("help").Said, StringComparison.Ordinal);
        // The options of the demo are its program's.
        if (command != "demo")
        {
            (exitCode, string said) = Run(command, "nonsense");
            Assert.Equal(2, exitCode);
            Assert.Contains("not understood: nonsense", said, StringComparison.Ordinal);
            Assert.Contains(help, said, StringComparison.Ordinal);
        }
        Assert.False(Directory.Exists(_repository.File("out")));
    }

    [Fact]
    public void AnUnknownCommandIsAnsweredWithTheList()
    {
        (int exitCode, string said) = Run("demmo");
        Assert.Equal(2, exitCode);
        Assert.StartsWith("build.sh: no such command: demmo\nUsage: ./build.sh <command>", said, StringComparison.Ordinal);
    }

    /// <summary>Puts a program of this name in front of the machine's.</summary>
    private void Has(string name, string script = "exit 0")
    {
        File.WriteAllText(_machine.File(name), $"#!/bin/bash\nset -e\n{script}\n");
        File.SetUnixFileMode(_machine.File(name), UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    /// <summary>Runs the script from somewhere else.</summary>
    private (int ExitCode, string Said) Run(params string[] arguments)
    {
        var start = new ProcessStartInfo("bash", [_repository.File("build.sh"), .. arguments])
        {
            WorkingDirectory = "/", RedirectStandardOutput = true, RedirectStandardError = true,
        };
        start.Environment["PATH"] = $"{_machine.Path}:{Environment.GetEnvironmentVariable("PATH")}";
        start.Environment["HOME"] = _home.Path;
        start.Environment.Remove("DOTNET_ROOT");
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output.Result + error);
    }
}
