using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using System.Threading.RateLimiting;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace Dataplane.Control.Api.Access;

/// <summary>
/// Connections over TCP: counted, then TLS 1.2 or 1.3 with a certificate on both sides, and only then a caller. The client's
/// certificate must be issued by one of the authorities given (those of the system do not count), be in its time, and be
/// meant for clients if it says what it is for. Revocation is not looked up; certificates for this should live shortly.
/// </summary>
internal sealed partial class TlsListener(TlsEndpoint endpoint, CallLimits limits, ILogger<TlsListener> log)
{
    /// <summary>Extended key usage of clients, RFC 5280.</summary>
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly ConcurrencyLimiter _connections = new(new ConcurrencyLimiterOptions { PermitLimit = limits.TcpConnections });

    public void Listen(KestrelServerOptions kestrel) => kestrel.Listen(endpoint.Address, listen =>
    {
        listen.Protocols = HttpProtocols.Http2;
        listen.Use(Count);
        listen.UseHttps(new HttpsConnectionAdapterOptions
        {
            ServerCertificate = endpoint.Certificate,
            ServerCertificateChain = endpoint.Chain,
            SslProtocols = SslProtocols.Tls12 | SslProtocols.Tls13,
            ClientCertificateMode = ClientCertificateMode.RequireCertificate,
            ClientCertificateValidation = (certificate, chain, _) => IsTrusted(certificate, chain),
        });
        listen.Use(Introduce);
    });

    private ConnectionDelegate Count(ConnectionDelegate next) => async connection =>
    {
        using RateLimitLease lease = _connections.AttemptAcquire();
        if (lease.IsAcquired)
        {
            await next(connection);
            return;
        }
        LogTooMany(limits.TcpConnections);
        connection.Abort();
    };

    private static ConnectionDelegate Introduce(ConnectionDelegate next) => connection =>
    {
        if (connection.Features.Get<ITlsConnectionFeature>()?.ClientCertificate is { } certificate)
        {
            connection.Features.Set(CertificateCaller.Of(certificate));
        }
        return next(connection);
    };

    private bool IsTrusted(X509Certificate2 certificate, X509Chain? sent)
    {
        using var chain = new X509Chain();
        chain.ChainPolicy.TrustMode = X509ChainTrustMode.CustomRootTrust;
        chain.ChainPolicy.CustomTrustStore.AddRange(endpoint.ClientAuthorities);
        foreach (X509ChainElement element in sent?.ChainElements ?? Enumerable.Empty<X509ChainElement>())
        {
            chain.ChainPolicy.ExtraStore.Add(element.Certificate);
        }
        chain.ChainPolicy.RevocationMode = X509RevocationMode.NoCheck;
        chain.ChainPolicy.ApplicationPolicy.Add(new Oid(ClientAuthentication));
        if (chain.Build(certificate))
        {
            return true;
        }
        LogNotTrusted(certificate.Subject, string.Join(", ", chain.ChainStatus.Select(s => s.Status).Distinct()));
        return false;
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Refused a client with certificate \"{Subject}\": {Why}")]
    private partial void LogNotTrusted(string subject, string why);

    [LoggerMessage(Level = LogLevel.Warning, Message = "Refused a connection over TCP: there are {Most} already")]
    private partial void LogTooMany(int most);
}
