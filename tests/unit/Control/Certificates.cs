using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Dataplane.UnitTests.Control;

/// <summary>An authority made for a test, and what it issues, as PEM files in a directory.</summary>
internal sealed class Certificates : IDisposable
{
    public const string ForServers = "1.3.6.1.5.5.7.3.1", ForClients = "1.3.6.1.5.5.7.3.2";

    private readonly string _directory;
    private readonly X509Certificate2 _authority;

    public Certificates(string directory, string name = "ca")
    {
        _directory = directory;
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: true, hasPathLengthConstraint: false, 0, critical: true));
        _authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-30), DateTimeOffset.UtcNow.AddDays(30));
        File = Path.Combine(directory, $"{name}.pem");
        System.IO.File.WriteAllText(File, _authority.ExportCertificatePem());
    }

    /// <summary>The authority's own certificate.</summary>
    public string File { get; }

    /// <summary>Issues a certificate.</summary>
    /// <param name="file">Its file, without extension.</param>
    /// <param name="subject">"CN=ann, OU=read-only"</param>
    /// <param name="usage">What it is for, by object identifier; null for anything.</param>
    /// <param name="expired">Whether it ended yesterday.</param>
    public (string Certificate, string Key) Issue(string file, string subject, string? usage = null, bool expired = false)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(subject, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(certificateAuthority: false, hasPathLengthConstraint: false, 0, critical: true));
        if (usage is not null)
        {
            request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(usage)], critical: false));
        }
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        DateTimeOffset begin = DateTimeOffset.UtcNow.AddDays(-10), end = DateTimeOffset.UtcNow.AddDays(expired ? -1 : 10);
        using X509Certificate2 certificate = request.Create(_authority, begin, end, RandomNumberGenerator.GetBytes(8));
        (string Certificate, string Key) paths = (Path.Combine(_directory, $"{file}.pem"), Path.Combine(_directory, $"{file}.key"));
        System.IO.File.WriteAllText(paths.Certificate, certificate.ExportCertificatePem());
        System.IO.File.WriteAllText(paths.Key, key.ExportPkcs8PrivateKeyPem());
        return paths;
    }

    public void Dispose() => _authority.Dispose();
}
