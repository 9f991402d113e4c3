using System.Text.Json;
using Dataplane.Control.Api;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Observation;
using Dataplane.Control.Cli;
using Dataplane.Control.Runtime;
using Microsoft.Extensions.Logging.Abstractions;

namespace Dataplane.UnitTests.Control;

/// <summary>Tests that redirect the console, or set environment variables, run alone.</summary>
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class ConsoleCollection
{
    public const string Name = "console";
}

/// <summary>The command line against a served API: what it prints, and how it ends.</summary>
[Collection(ConsoleCollection.Name)]
public sealed partial class CliTests : IAsyncLifetime
{
    private readonly Bench _bench = new();
    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private ApiServer? _server;

    public async Task InitializeAsync()
    {
        Environment.SetEnvironmentVariable("DATAPLANE_RUN_DIR", _directory);
        Directory.CreateDirectory(Path.Combine(_directory, "default"));
        var instance = new InstanceInfo("default", "", "", DateTimeOffset.UtcNow);
        var counters = new CounterReader(_bench.Segment, _bench.Engine, TimeProvider.System);
        _server = await ApiServer.StartAsync(
            Path.Combine(_directory, "default", "api.sock"), new ApiAccess(), _bench.Controller, counters, new CaptureHub(_bench.Segment), instance, new StopRequests(), NullLoggerFactory.Instance);
    }

    public async Task DisposeAsync()
    {
        await _server!.DisposeAsync();
        _bench.Dispose();
        Environment.SetEnvironmentVariable("DATAPLANE_RUN_DIR", null);
        Directory.Delete(_directory, recursive: true);
    }

    [Theory]
    [InlineData("bogus", 2, "error: ")]
    [InlineData("port add", 2, "error: Required argument 'NAME' missing")]
    [InlineData("port list -o xml", 2, "error: -o takes table, wide, json or yaml")]
    [InlineData("port add p -n blue --host --dpdk net_null0", 2, "error: a port has one device, not a TAP device (--host) and --dpdk")]
    [InlineData("port add p -n blue --native-vlan 4", 2, "error: --native-vlan needs --trunk")]
    [InlineData("mac add 02:00:00:00:00:01 -p p", 2, "error: which network? Give --network NETWORK")]
    [InlineData("get rout", 2, "error: unknown kind \"rout\"")]
    [InlineData("delete port", 2, "error: give a kind and at least one name, or -f FILE")]
    [InlineData("apply", 2, "error: which file?")]
    [InlineData("apply -f /nowhere.yaml", 1, "error: Could not find file '/nowhere.yaml'")]
    [InlineData("port get nobody", 1, "error: port \"nobody\": does not exist")]
    [InlineData("port add p -n nowhere", 1, "error: port \"p\": network \"nowhere\" does not exist; networks: (there is none)")]
    [InlineData("run --underlay uplink", 2, "error: --underlay goes with --flannel")]
    [InlineData("run --flannel --underlay uplink", 2, "error: --flannel goes with --store etcd://...: its leases are in etcd")]
    [InlineData("run --flannel --store etcd://a", 2, "error: --flannel goes with --underlay: the routed port by which the other nodes are reached")]
    [InlineData("run --flannel --store etcd://a --underlay uplink --public-ip fd00::1", 2, "error: --public-ip takes an IPv4 address, not \"fd00::1\"")]
    [InlineData("run --flannel --store etcd://a --underlay uplink --public-ipv6 10.0.0.1", 2, "error: --public-ipv6 takes an IPv6 address, not \"10.0.0.1\"")]
    [InlineData("run --flannel --store etcd://a --underlay uplink --flannel-prefix //", 2, "error: --flannel-prefix cannot be empty")]
    [InlineData("status -i other", 3, "error: no daemon runs for instance \"other\"; start it (as root) with: dataplane run --instance other")]
    public async Task AMistakeHasItsTextAndExitCode(string command, int exitCode, string error)
    {
        (int code, string _, string said) = await RunAsync(command);
        Assert.Equal(exitCode, code);
        Assert.StartsWith(error, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task APersonMakesANetworkAndPorts()
    {
        await Succeeds("network add blue --subnet 172.18.0.0/16 --gateway 172.18.0.1", "network \"blue\" created");
        await Succeeds("port add dp0 -n blue --host", "port \"dp0\" created");
        await Succeeds("port add web -n blue --netns web --address 172.18.0.2/16 --default-route --isolated", "port \"web\" created");
        await Succeeds("port add web2 -n blue --netns db --dry-run", "port \"web2\" created \\(dry run\\)");
        await Succeeds("mac add 02:00:00:00:00:AA -n blue -p web", "static MAC \"blue/02:00:00:00:00:aa\" created");
        await Succeeds("mac drop 02:00:00:00:00:bb -n blue", "created");
        string ports = await Succeeds("port list", "172.18.0.1/16");
        Assert.Equal(3, ports.Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Matches("web +blue +up +eth0@web +02:[0-9a-f:]+ +172.18.0.2/16", ports);
        await Succeeds("mac list", "(?s)02:00:00:00:00:aa +web +static +-.*02:00:00:00:00:bb +- +drop");
        await Succeeds("status", "1 network, 2 ports");
        await Succeeds("stats", "web +blue +0 ");
        await Succeeds("mac delete 02:00:00:00:00:aa -n blue", "deleted");
        await Succeeds("delete port web dp0", "(?s)port \"web\" deleted.*port \"dp0\" deleted");
        (int code, string _, string error) = await RunAsync("network delete blue");
        Assert.Equal((1, "error: network \"blue\": is used by static MAC \"blue/02:00:00:00:00:bb\"; delete these first, or in the same call\n"), (code, error));
    }

    [Fact]
    public async Task WhatExistsIsNotAddedAgain()
    {
        await Succeeds("network add blue", "created");
        (int code, string _, string error) = await RunAsync("network add blue");
        Assert.Equal((1, "error: network \"blue\": exists already\n"), (code, error));
    }

    [Fact]
    public async Task JsonIsTheApis()
    {
        await Succeeds("network add blue --subnet 172.18.0.0/16", "created");
        await Succeeds("port add web -n blue --netns web --address 172.18.0.2/16", "created");
        using JsonDocument list = JsonDocument.Parse(await Succeeds("port list -o json", "."));
        JsonElement port = list.RootElement.GetProperty("ports")[0];
        Assert.Equal("UP", port.GetProperty("status").GetProperty("state").GetString());
        Assert.Equal(1, port.GetProperty("status").GetProperty("index").GetInt32());
        using JsonDocument one = JsonDocument.Parse(await Succeeds("port get web -o json", "."));
        Assert.Equal("port", one.RootElement.GetProperty("kind").GetString());
        using JsonDocument stats = JsonDocument.Parse(await Succeeds("stats -o json", "."));
        Assert.Equal(0, stats.RootElement.GetProperty("ports")[0].GetProperty("rx_packets").GetInt64());
        using JsonDocument status = JsonDocument.Parse(await Succeeds("status -o json", "."));
        Assert.Equal("default", status.RootElement.GetProperty("instance").GetString());
    }

    [Fact]
    public async Task WhatIsShownCanBeEditedAndApplied()
    {
        await Succeeds("network add blue --subnet 172.18.0.0/16", "created");
        await Succeeds("port add web -n blue --netns web --address 172.18.0.2/16", "created");
        string file = Path.Combine(_directory, "all.yaml");
        string yaml = await Succeeds("get all -o yaml", "networks:");
        await File.WriteAllTextAsync(file, yaml);
        await Succeeds($"apply -f {file}", "(?s)network \"blue\" unchanged.*port \"web\" unchanged");
        await File.WriteAllTextAsync(file, yaml.Replace("172.18.0.2/16", "172.18.0.5/16", StringComparison.Ordinal));
        await Succeeds($"apply -f {file} --dry-run", "tap.addresses: \\[172.18.0.2/16\\] -> \\[172.18.0.5/16\\]");
        await Succeeds($"apply -f {file}", "port \"web\" updated");
        await Succeeds($"delete -f {file}", "network \"blue\" deleted");
    }

    [Fact]
    public async Task ProblemsOfAFileHaveLines()
    {
        string file = Path.Combine(_directory, "bad.yaml");
        await File.WriteAllTextAsync(file, "networks:\n- name: blue\n  subnets: [172.18.0.0/16]\nports:\n- name: web\n  network: blue\n  tap:\n    addresses:\n    - 10.0.0.1/24\n  mtu: 1\n");
        (int code, string _, string error) = await RunAsync($"apply -f {file}");
        Assert.Equal(1, code);
        Assert.Equal(
            $"error: {file}:9: port \"web\": address 10.0.0.1/24 is outside network \"blue\" (172.18.0.0/16)\nerror: {file}:10: port \"web\": MTU 1 is below 68\n",
            error);
        await File.WriteAllTextAsync(file, "networks:\n- nam: blue\n");
        (code, _, error) = await RunAsync($"apply -f {file}");
        Assert.Equal((2, $"error: {file}:2:3: unknown field \"nam\" of network; did you mean \"name\"?\n"), (code, error));
    }

    /// <summary>A directory is one batch: YAML and JSON, shown first, refused with the place of each problem, and applied as a whole.</summary>
    [Fact]
    public async Task ADirectoryIsShownRefusedAndApplied()
    {
        string directory = Directory.CreateDirectory(Path.Combine(_directory, "conf.d")).FullName;
        string first = Path.Combine(directory, "10-net.yaml"), second = Path.Combine(directory, "20-ports.json");
        await File.WriteAllTextAsync(first, "networks:\n- name: blue\n  subnets: [172.18.0.0/16]\n");
        await File.WriteAllTextAsync(second, "{\"ports\": [\n  {\"name\": \"web\", \"network\": \"blue\",\n   \"tap\": {\"netns\": \"web\", \"addresses\": [\"172.18.0.2/16\"]}}\n]}\n");
        await Succeeds($"apply -f {directory} --dry-run", "(?s)^network \"blue\" created \\(dry run\\)\n.*port \"web\" created \\(dry run\\)\n");
        Assert.Equal(0ul, _bench.Controller.State.Revision);
        await Succeeds($"apply -f {directory}", "(?s)network \"blue\" created.*port \"web\" created");

        await File.WriteAllTextAsync(first, "networks:\n- name: blue\n  subnets: [172.18.0.0/16]\n  learn_limit: 9\n");
        string shown = await Succeeds($"apply -f {directory} --dry-run", "(?s)network \"blue\" updated \\(dry run\\)\n  learn_limit: 0 -> 9\n.*port \"web\" unchanged");
        Assert.DoesNotContain("tap.", shown, StringComparison.Ordinal);
        Assert.Equal(1ul, _bench.Controller.State.Revision);

        // What is wrong in one file keeps the other one from being applied.
        await File.WriteAllTextAsync(second, "{\"ports\": [\n  {\"name\": \"web\", \"network\": \"blue\",\n   \"tap\": {\"netns\": \"web\", \"addresses\": [\n     \"10.0.0.1/24\"]}}\n]}\n");
        Assert.Equal((1, "", $"error: {second}:4: port \"web\": address 10.0.0.1/24 is outside network \"blue\" (172.18.0.0/16)\n"), await RunAsync($"apply -f {directory}"));
        await File.WriteAllTextAsync(second, "{\"ports\": [\n  {\"name\": \"web\" \"network\": \"blue\"}]}\n");
        (int code, _, string error) = await RunAsync($"apply -f {directory}");
        Assert.Equal(2, code);
        Assert.StartsWith($"error: {second}:2:", error, StringComparison.Ordinal);
        Assert.Equal(1ul, _bench.Controller.State.Revision);
    }

    [Fact]
    public async Task APortIsDisabledAndEnabled()
    {
        await Succeeds("network add blue", "created");
        await Succeeds("port add m -n blue --memory", "created");
        await Succeeds("port disable m", "down .*disabled by the operator");
        await Succeeds("port enable m", " up ");
        Assert.False(_bench.Controller.State.Ports["m"].Spec.HasEnabled);
    }

    [Theory]
    [InlineData("")]
    [InlineData("run")]
    [InlineData("stop")]
    [InlineData("clean")]
    [InlineData("status")]
    [InlineData("network")]
    [InlineData("network add")]
    [InlineData("port")]
    [InlineData("port add")]
    [InlineData("port enable")]
    [InlineData("mac")]
    [InlineData("mac flush")]
    [InlineData("stats")]
    [InlineData("events")]
    [InlineData("apply")]
    [InlineData("delete")]
    [InlineData("get")]
    [InlineData("watch")]
    public async Task EveryHelpHasExamples(string command) => await Succeeds($"{command} --help", "(?s)Examples:\n  .*dataplane");

    private static async Task<string> Succeeds(string command, string pattern)
    {
        (int code, string output, string error) = await RunAsync(command);
        Assert.Equal((0, ""), (code, error));
        Assert.True(System.Text.RegularExpressions.Regex.IsMatch(output, pattern), $"no {pattern} in:\n{output}");
        return output;
    }

    internal static async Task<(int Code, string Output, string Error)> RunAsync(string command)
    {
        TextWriter output = Console.Out, error = Console.Error;
        using var said = new StringWriter();
        using var complained = new StringWriter();
        Console.SetOut(said);
        Console.SetError(complained);
        try
        {
            int code = await RootCommands.RunAsync(command.Split(' ', StringSplitOptions.RemoveEmptyEntries));
            return (code, said.ToString(), complained.ToString());
        }
        finally
        {
            Console.SetOut(output);
            Console.SetError(error);
        }
    }
}
