using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Dataplane.UnitTests.Control.Etcd;

/// <summary>An authority made for one test, and what it signs, as PEM files NAME.pem and NAME.key.</summary>
internal sealed class Certificates(string directory)
{
    private readonly X509Certificate2 _authority = MakeAuthority(directory);

    public string File(string name) => Path.Combine(directory, name);

    public void Sign(string name)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddIpAddress(OwnLoopback.Address);
        request.CertificateExtensions.Add(names.Build());
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid("1.3.6.1.5.5.7.3.1"), new Oid("1.3.6.1.5.5.7.3.2")], critical: false));
        using X509Certificate2 signed = request.Create(_authority, _authority.NotBefore, _authority.NotAfter, RandomNumberGenerator.GetBytes(8));
        System.IO.File.WriteAllText(File($"{name}.pem"), signed.ExportCertificatePem());
        System.IO.File.WriteAllText(File($"{name}.key"), key.ExportPkcs8PrivateKeyPem());
    }

    private static X509Certificate2 MakeAuthority(string directory)
    {
        using ECDsa key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=test authority", key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, false, 0, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, critical: true));
        X509Certificate2 authority = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddHours(-1), DateTimeOffset.UtcNow.AddHours(1));
        System.IO.File.WriteAllText(Path.Combine(directory, "ca.pem"), authority.ExportCertificatePem());
        return authority;
    }
}
