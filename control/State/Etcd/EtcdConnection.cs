using System.Globalization;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Etcdserverpb;
using Grpc.Core;
using Grpc.Net.Client;

namespace Dataplane.Control.State.Etcd;

/// <summary>
/// A connection to one server of etcd, authenticated when a user is named. The calls are those of dotnet-etcd's generated
/// client; the channel is our own, because a commit has to go to the server whose watch we follow, and a server that hangs
/// has to be noticed.
/// </summary>
internal sealed class EtcdConnection : IDisposable
{
    private readonly EtcdOptions _options;
    private readonly GrpcChannel _channel;
    private readonly SocketsHttpHandler _http;
    private Metadata _headers = [];

    /// <exception cref="StateStoreException">A certificate, key or password cannot be read.</exception>
    public EtcdConnection(EtcdOptions options, string server)
    {
        _options = options;
        Server = server;
        _http = new SocketsHttpHandler
        {
            UseProxy = false,
            ConnectTimeout = options.Patience,
            EnableMultipleHttp2Connections = false,
            // Not more often than etcd allows (--grpc-keepalive-min-time), or it hangs up.
            KeepAlivePingDelay = TimeSpan.FromSeconds(6),
            KeepAlivePingTimeout = TimeSpan.FromSeconds(3),
            KeepAlivePingPolicy = HttpKeepAlivePingPolicy.Always,
        };
        if (options.Tls)
        {
            _http.SslOptions = SslOptions(options);
        }
        _channel = GrpcChannel.ForAddress($"{(options.Tls ? "https" : "http")}://{server}", new GrpcChannelOptions
        {
            HttpHandler = _http,
            DisposeHttpClient = true,
            MaxReceiveMessageSize = null,
        });
        Kv = new KV.KVClient(_channel);
        Watcher = new Watch.WatchClient(_channel);
        Leases = new Lease.LeaseClient(_channel);
    }

    public string Server { get; }
    public KV.KVClient Kv { get; }
    public Watch.WatchClient Watcher { get; }
    public Lease.LeaseClient Leases { get; }

    /// <summary>Headers and deadline of a short call.</summary>
    public CallOptions Short(CancellationToken cancel = default) => new(_headers, DateTime.UtcNow + _options.Patience, cancel);

    /// <summary>What an error says, for people. Of a deadline that passed gRPC says nothing, and of some others only the code.</summary>
    public string Said(RpcException e) => e.StatusCode switch
    {
        StatusCode.DeadlineExceeded => string.Create(CultureInfo.InvariantCulture, $"no answer within {_options.Patience.TotalSeconds:0.###} s"),
        _ when e.Status.Detail.Length > 0 => e.Status.Detail,
        _ => $"the call ended with {e.StatusCode}",
    };

    /// <summary>Headers of a stream.</summary>
    public CallOptions Long(CancellationToken cancel) => new(_headers, cancellationToken: cancel);

    /// <summary>Tells etcd who we are. The token it gives stays valid while it is used.</summary>
    public async Task AuthenticateAsync(CancellationToken cancel)
    {
        if (_options.User is { } user)
        {
            var request = new AuthenticateRequest { Name = user, Password = Password(_options) };
            AuthenticateResponse answer = await new Auth.AuthClient(_channel).AuthenticateAsync(request, Short(cancel));
            _headers = new Metadata { { "token", answer.Token } };
        }
    }

    public void Dispose()
    {
        _channel.Dispose();
        _http.Dispose();
    }

    private static string Password(EtcdOptions options)
    {
        try
        {
            return options.PasswordFile is { } file ? File.ReadLines(file).FirstOrDefault() ?? ""
                : Environment.GetEnvironmentVariable(EtcdOptions.PasswordVariable)
                ?? throw new StateStoreException($"the password of etcd's user \"{options.User}\" is missing", StatusCode.FailedPrecondition,
                    $"name a file with it by --store-password-file, or set ${EtcdOptions.PasswordVariable}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StateStoreException($"the file with the password of etcd's user cannot be read: {e.Message}", StatusCode.FailedPrecondition, inner: e);
        }
    }

    private static SslClientAuthenticationOptions SslOptions(EtcdOptions options)
    {
        try
        {
            var ssl = new SslClientAuthenticationOptions();
            if (options.CertificateFile is { } certificate)
            {
                ssl.ClientCertificates = [X509Certificate2.CreateFromPemFile(certificate, options.KeyFile)];
            }
            if (options.AuthorityFile is { } authority)
            {
                var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
                policy.CustomTrustStore.ImportFromPemFile(authority);
                ssl.CertificateChainPolicy = policy;
            }
            return ssl;
        }
        catch (Exception e) when (e is System.Security.Cryptography.CryptographicException or IOException or UnauthorizedAccessException)
        {
            throw new StateStoreException($"a certificate or key for etcd cannot be read: {e.Message}", StatusCode.FailedPrecondition, "look at --store-ca, --store-cert and --store-key", e);
        }
    }
}
