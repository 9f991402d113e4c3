using System.Net;
using System.Net.Security;
using System.Security.Authentication;
using System.Security.Cryptography.X509Certificates;
using Dataplane.Control.Api.Access;
using Dataplane.Control.Api.V1;
using Grpc.Core;
using Grpc.Net.Client;

namespace Dataplane.UnitTests.Control;

/// <summary>The API over TCP: who gets in, who does not and for which reason, and what each role may do.</summary>
public sealed class TlsTests : IAsyncLifetime
{
    private readonly string _directory = Directory.CreateTempSubdirectory().FullName;
    private readonly KeptLog _log = new();
    private Certificates _authority = null!;
    private ServedApi _api = null!;

    public async Task InitializeAsync()
    {
        _authority = new Certificates(_directory);
        (string certificate, string key) = _authority.Issue("server", "CN=switch", Certificates.ForServers);
        var tcp = TlsEndpoint.Load(new IPEndPoint(IPAddress.Loopback, 0), certificate, key, _authority.File);
        _api = await ServedApi.StartAsync(access: new ApiAccess { Tcp = tcp }, logging: _log);
    }

    public async Task DisposeAsync()
    {
        await _api.DisposeAsync();
        _authority.Dispose();
        Directory.Delete(_directory, recursive: true);
    }

    [Fact]
    public async Task ReadWriteMayChangeThings()
    {
        using GrpcChannel channel = Connect(_authority.Issue("ann", "CN=ann, OU=ops, OU=read-write", Certificates.ForClients));
        await new Resources.ResourcesClient(channel).ApplyAsync(new ApplyRequest { Resources = { Make.Net("n") } });
        Assert.Single(_api.Bench.Controller.State.Networks);
    }

    [Fact]
    public async Task ReadOnlyMayReadAndNothingElse()
    {
        await _api.Bench.Apply(Make.Net("n"));
        using GrpcChannel channel = Connect(_authority.Issue("bob", "CN=bob, OU=read-only"));
        Assert.Equal("n", (await new Resources.ResourcesClient(channel).GetAsync(new GetRequest { Kind = Kind.Network, Name = "n" })).Network.Name);
        foreach ((string path, MethodRule rule) in MethodRules.All)
        {
            Status status = await CallAsync(channel, path);
            Assert.True(rule.Needs == Role.ReadWrite == (status.StatusCode == StatusCode.PermissionDenied), $"{path}: {status}");
            if (status.StatusCode == StatusCode.PermissionDenied)
            {
                Assert.Equal($"{path[1..]} is not permitted: the role of certificate CN=bob is read-only", status.Detail);
            }
        }
        Assert.False(_api.Stop.Requested.IsCompleted);
    }

    [Theory]
    [InlineData("CN=eve")]
    [InlineData("CN=eve, OU=kitchen")]
    [InlineData("CN=eve, OU=Read-Write")]
    [InlineData("CN=eve, OU=read-only, OU=read-write")]
    [InlineData("OU=kitchen, CN=eve, O=read-write")]
    public async Task ACertificateWithoutARoleMayDoNothing(string subject)
    {
        using GrpcChannel channel = Connect(_authority.Issue("eve", subject));
        Status status = await CallAsync(channel, "/dataplane.v1.Stats/GetEngine");
        Assert.Equal(StatusCode.PermissionDenied, status.StatusCode);
        Assert.Contains("the subject of certificate CN=eve has no organisational unit, OU=read-only or OU=read-write", status.Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("expired", "NotTimeValid")]
    [InlineData("of another authority", "PartialChain")]
    [InlineData("for servers", "NotValidForUsage")]
    public async Task ACertificateIsNotTrustedThatIs(string what, string reason)
    {
        using var other = new Certificates(_directory, "other");
        (string, string) identity = what switch
        {
            "expired" => _authority.Issue("old", "CN=old, OU=read-write", expired: true),
            "for servers" => _authority.Issue("wrong", "CN=wrong, OU=read-write", Certificates.ForServers),
            _ => other.Issue("stranger", "CN=stranger, OU=read-write"),
        };
        using GrpcChannel channel = Connect(identity);
        Status status = await CallAsync(channel, "/dataplane.v1.Stats/GetEngine");
        Assert.True(status.DebugException is HttpRequestException or HttpIOException or IOException, $"{status}");
        Assert.Contains(_log.Lines, l => l.Contains("Refused a client with certificate", StringComparison.Ordinal) && l.Contains(reason, StringComparison.Ordinal));
        Assert.DoesNotContain(_log.Lines, l => l.Contains("PRIVATE KEY", StringComparison.Ordinal));
    }

    [Fact]
    public async Task NobodyGetsInWithoutACertificateOrWithoutTls()
    {
        using GrpcChannel anonymous = Connect(null);
        Assert.NotEqual(StatusCode.OK, (await CallAsync(anonymous, "/dataplane.v1.Stats/GetEngine")).StatusCode);
        using var plain = GrpcChannel.ForAddress($"http://127.0.0.1:{_api.TcpPort}");
        Assert.NotEqual(StatusCode.OK, (await CallAsync(plain, "/dataplane.v1.Stats/GetEngine")).StatusCode);
        // A role is not looked for where there is no certificate: the unix socket goes on as it was.
        Assert.Equal(StatusCode.OK, (await CallAsync(_api.Channel, "/dataplane.v1.Stats/GetEngine")).StatusCode);
    }

    [Fact]
    public async Task AClientDoesNotTrustAServerOfAnotherAuthority()
    {
        using var other = new Certificates(_directory, "other");
        using GrpcChannel channel = Connect(_authority.Issue("ann", "CN=ann, OU=read-write"), trusted: other.File);
        Status status = await CallAsync(channel, "/dataplane.v1.Stats/GetEngine");
        Assert.IsType<AuthenticationException>(status.DebugException?.InnerException);
    }

    [Theory]
    [InlineData("server.pem", "ca.pem", "ca.pem", "ca.pem does not hold the unencrypted PEM key of the certificate in")]
    [InlineData("server.pem", "eve.key", "ca.pem", "eve.key does not hold the unencrypted PEM key of the certificate in")]
    [InlineData("server.key", "server.key", "ca.pem", "server.key holds no PEM certificate")]
    [InlineData("server.pem", "server.key", "none.pem", "Could not find file")]
    [InlineData("server.pem", "server.key", "eve.key", "eve.key holds no PEM certificate")]
    public void FilesThatCannotBeUsedAreNamed(string certificate, string key, string authorities, string message)
    {
        _authority.Issue("eve", "CN=eve");
        TlsFileException error = Assert.Throws<TlsFileException>(() => TlsEndpoint.Load(
            new IPEndPoint(IPAddress.Loopback, 0), Path.Combine(_directory, certificate), Path.Combine(_directory, key), Path.Combine(_directory, authorities)));
        Assert.Contains(message, error.Message, StringComparison.Ordinal);
    }

    private GrpcChannel Connect((string Certificate, string Key)? identity, string? trusted = null)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(trusted ?? _authority.File);
        var tls = new SslClientAuthenticationOptions { CertificateChainPolicy = policy };
        if (identity is { } files)
        {
            tls.ClientCertificateContext = SslStreamCertificateContext.Create(X509Certificate2.CreateFromPemFile(files.Certificate, files.Key), null, offline: true);
        }
        return GrpcChannel.ForAddress($"https://127.0.0.1:{_api.TcpPort}", new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { SslOptions = tls },
            DisposeHttpClient = true,
        });
    }

    /// <summary>How a call with an empty request ends, or OK as soon as it is answered.</summary>
    private static async Task<Status> CallAsync(ChannelBase channel, string path)
    {
        Marshaller<byte[]> bytes = Marshallers.Create(b => b, b => b);
        string[] parts = path.Split('/');
        var method = new Method<byte[], byte[]>(MethodType.ServerStreaming, parts[1], parts[2], bytes, bytes);
        using AsyncServerStreamingCall<byte[]> call = channel.CreateCallInvoker()
            .AsyncServerStreamingCall(method, null, new CallOptions(deadline: DateTime.UtcNow.AddSeconds(5)), []);
        try
        {
            await call.ResponseStream.MoveNext(CancellationToken.None);
            return Status.DefaultSuccess;
        }
        catch (RpcException e)
        {
            return e.Status;
        }
    }
}
