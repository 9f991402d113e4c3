using System.Net;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Cli;

namespace Dataplane.UnitTests.Control;

/// <summary>The command line across the network: what it needs, and what it says when that does not do.</summary>
[Collection(ConsoleCollection.Name)]
public sealed class RemoteCliTests : IAsyncLifetime
{
    private static readonly string[] Variables = ["DATAPLANE_SERVER", "DATAPLANE_TLS_CERT", "DATAPLANE_TLS_KEY", "DATAPLANE_TLS_CA"];

    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private ServedApi _api = null!;
    private Certificates _authority = null!, _other = null!;

    private string Server => $"127.0.0.1:{_api.TcpPort}";

    public async Task InitializeAsync()
    {
        _authority = new Certificates(_directory);
        _other = new Certificates(_directory, "other");
        (string certificate, string key) = _authority.Issue("server", "CN=switch", Certificates.ForServers);
        _authority.Issue("ann", "CN=ann, OU=read-write");
        _authority.Issue("bob", "CN=bob, OU=read-only");
        _authority.Issue("old", "CN=old, OU=read-write", expired: true);
        _api = await ServedApi.StartAsync(access: new ApiAccess { Tcp = TlsEndpoint.Load(new IPEndPoint(IPAddress.Loopback, 0), certificate, key, _authority.File) });
    }

    public async Task DisposeAsync()
    {
        foreach (string variable in Variables)
        {
            Environment.SetEnvironmentVariable(variable, null);
        }
        await _api.DisposeAsync();
        _authority.Dispose();
        _other.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task ByOptionsAndByTheEnvironment()
    {
        (int code, string output, string error) = await RunAsync("network add blue", "ann");
        Assert.Equal((0, "network \"blue\" created\n", ""), (code, output, error));
        foreach ((string variable, string value) in Variables.Zip([Server, PathOf("bob.pem"), PathOf("bob.key"), _authority.File]))
        {
            Environment.SetEnvironmentVariable(variable, value);
        }
        (code, output, error) = await CliTests.RunAsync("network list");
        Assert.Equal((0, ""), (code, error));
        Assert.Contains("blue", output, StringComparison.Ordinal);
        // Who names an instance means one of this machine, whatever the environment says.
        (code, _, error) = await CliTests.RunAsync("network list --instance nobody");
        Assert.Equal((3, true), (code, error.StartsWith("error: no daemon runs for instance \"nobody\"", StringComparison.Ordinal)));
    }

    [Theory]
    [InlineData("bob", 1, "error: dataplane.v1.Resources/Apply is not permitted: the role of certificate CN=bob is read-only\n")]
    [InlineData("old", 1, "error: 127.0.0.1:[0-9]+ ended the connection: .*; its log tells when it is our certificate that it does not trust\n")]
    public async Task ARefusalIsExplained(string identity, int exitCode, string pattern)
    {
        (int code, _, string error) = await RunAsync("network add blue", identity);
        Assert.Equal(exitCode, code);
        Assert.Matches($"^{pattern}$", error);
    }

    [Fact]
    public async Task AServerThatIsNotTrustedIsNotTalkedTo()
    {
        (int code, _, string error) = await CliTests.RunAsync($"status --server {Server} --tls-cert {PathOf("ann.pem")} --tls-key {PathOf("ann.key")} --tls-ca {_other.File}");
        Assert.Equal(1, code);
        Assert.StartsWith($"error: {Server} is not trusted: ", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("status --server switch1:7411", 2, "error: --server needs --tls-cert FILE (or $DATAPLANE_TLS_CERT)")]
    [InlineData("status --server switch1", 2, "error: --server takes a host and a port, switch1:7411 or [fd00::1]:7411, not \"switch1\"")]
    [InlineData("status --server http://a:1", 2, "error: --server takes a host and a port")]
    [InlineData("status --server a:1 --tls-cert /none --tls-key /none --tls-ca /none", 2, "error: Could not find file '/none'")]
    [InlineData("run --listen 127.0.0.1:7411", 2, "error: the API is served over TCP with mutual TLS only: --tls-cert, --tls-key, --tls-client-ca missing")]
    [InlineData("run --listen 127.0.0.1:7411 --tls-cert a --tls-key b", 2, "error: the API is served over TCP with mutual TLS only: --tls-client-ca missing")]
    [InlineData("run --tls-client-ca a", 2, "error: the API is served over TCP with mutual TLS only: --listen, --tls-cert, --tls-key missing")]
    [InlineData("run --listen 7411 --tls-cert a --tls-key b --tls-client-ca c", 2, "error: --listen takes an address and a port")]
    [InlineData("run --listen localhost:7411 --tls-cert a --tls-key b --tls-client-ca c", 2, "error: --listen takes an address and a port")]
    [InlineData("run --listen 127.0.0.1:7411 --tls-cert /none --tls-key b --tls-client-ca c", 2, "error: Could not find file '/none'")]
    public async Task AMistakeHasItsText(string command, int exitCode, string text)
    {
        (int code, _, string error) = await CliTests.RunAsync(command);
        Assert.Equal(exitCode, code);
        Assert.StartsWith(text, error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task NobodyListens()
    {
        string server = Server;
        await _api.DisposeServerAsync();
        (int code, _, string error) = await CliTests.RunAsync($"status --server {server} --tls-cert {PathOf("ann.pem")} --tls-key {PathOf("ann.key")} --tls-ca {_authority.File}");
        Assert.Equal((3, $"error: no daemon listens on {server}; start one with: dataplane run --listen {server} ...\n"), (code, error));
    }

    private string PathOf(string file) => Path.Combine(_directory, file);

    private Task<(int Code, string Output, string Error)> RunAsync(string command, string identity) => CliTests.RunAsync(
        $"{command} --server {Server} --tls-cert {PathOf($"{identity}.pem")} --tls-key {PathOf($"{identity}.key")} --tls-ca {_authority.File}");
}
