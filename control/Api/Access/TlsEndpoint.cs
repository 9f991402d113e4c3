using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Dataplane.Control.Api.Access;

/// <summary>An address to serve the API on over TCP, with what mutual TLS takes. There is no serving over TCP without it.</summary>
public sealed class TlsEndpoint
{
    private TlsEndpoint(IPEndPoint address, X509Certificate2 certificate, X509Certificate2Collection chain, X509Certificate2Collection clientAuthorities)
    {
        Address = address;
        Certificate = certificate;
        Chain = chain;
        ClientAuthorities = clientAuthorities;
    }

    public IPEndPoint Address { get; }

    /// <summary>This server's certificate, with its key.</summary>
    public X509Certificate2 Certificate { get; }

    /// <summary>Intermediate certificates, when the file has some behind the first.</summary>
    public X509Certificate2Collection Chain { get; }

    /// <summary>Who must have issued a client's certificate.</summary>
    public X509Certificate2Collection ClientAuthorities { get; }

    /// <summary>Reads PEM files.</summary>
    /// <exception cref="TlsFileException">One of them cannot be used.</exception>
    public static TlsEndpoint Load(IPEndPoint address, string certificateFile, string keyFile, string clientAuthoritiesFile)
    {
        (X509Certificate2 certificate, X509Certificate2Collection chain) = TlsFiles.Identity(certificateFile, keyFile);
        return new TlsEndpoint(address, certificate, chain, TlsFiles.Authorities(clientAuthoritiesFile));
    }
}

/// <summary>Certificates and keys from PEM files. Messages name files, never what is in them.</summary>
internal static class TlsFiles
{
    /// <summary>A certificate with its key, and the certificates that follow it in the file.</summary>
    public static (X509Certificate2 Certificate, X509Certificate2Collection Chain) Identity(string certificateFile, string keyFile)
    {
        X509Certificate2Collection chain = Certificates(certificateFile);
        try
        {
            return (X509Certificate2.CreateFromPemFile(certificateFile, keyFile), [.. chain.Skip(1)]);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new TlsFileException($"{keyFile} does not hold the unencrypted PEM key of the certificate in {certificateFile}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TlsFileException(e.Message);
        }
    }

    public static X509Certificate2Collection Authorities(string file) => Certificates(file);

    private static X509Certificate2Collection Certificates(string file)
    {
        var found = new X509Certificate2Collection();
        try
        {
            found.ImportFromPemFile(file);
        }
        catch (CryptographicException)
        {
            found.Clear();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TlsFileException(e.Message);
        }
        return found.Count > 0 ? found : throw new TlsFileException($"{file} holds no PEM certificate");
    }
}

/// <summary>A file of certificates or keys cannot be used.</summary>
public sealed class TlsFileException(string message) : Exception(message);
