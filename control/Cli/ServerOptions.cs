using System.CommandLine;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using Dataplane.Control.Api.Access;

namespace Dataplane.Control.Cli;

/// <summary>
/// Where the daemon is that a command talks to: on this machine, by the name of its instance, or across the network. What
/// the command line does not say the environment may, except that a named --instance is always one of this machine.
/// </summary>
internal static class ServerOptions
{
    private static readonly Option<string> Server = new("--server") { Description = "Daemon on another machine (or $DATAPLANE_SERVER)", HelpName = "HOST:PORT" };
    private static readonly Option<string> Certificate = new("--tls-cert") { Description = "PEM certificate for --server; its OU is our role (or $DATAPLANE_TLS_CERT)", HelpName = "FILE" };
    private static readonly Option<string> Key = new("--tls-key") { Description = "PEM key of the certificate (or $DATAPLANE_TLS_KEY)", HelpName = "FILE" };
    private static readonly Option<string> Authorities = new("--tls-ca") { Description = "PEM certificates of who issues servers' ones (or $DATAPLANE_TLS_CA)", HelpName = "FILE" };

    public static void AddTo(Command command)
    {
        foreach (Option<string> option in new[] { Server, Certificate, Key, Authorities })
        {
            command.Options.Add(option);
        }
    }

    /// <summary>HOST:PORT, or null for a daemon of this machine.</summary>
    public static string? ServerOf(ParseResult parsed) => parsed.GetValue(Server)
        ?? (parsed.GetResult(Options.Instance) is { Implicit: false } ? null : Environment("DATAPLANE_SERVER"));

    /// <exception cref="CommandException">The options do not tell how.</exception>
    public static Client Connect(ParseResult parsed)
    {
        if (ServerOf(parsed) is not { } server)
        {
            return new Client(InstancePaths.Of(parsed.GetRequiredValue(Options.Instance)).ApiSocket);
        }
        if (!Uri.TryCreate($"https://{server}", UriKind.Absolute, out Uri? address) || address.Authority != server || !server.Contains(':'))
        {
            throw new CommandException(ExitCode.Usage, $"--server takes a host and a port, switch1:7411 or [fd00::1]:7411, not \"{server}\"");
        }
        string certificate = File(parsed, Certificate, "DATAPLANE_TLS_CERT"), key = File(parsed, Key, "DATAPLANE_TLS_KEY");
        string authorities = File(parsed, Authorities, "DATAPLANE_TLS_CA");
        try
        {
            return new Client(server, Tls(certificate, key, authorities));
        }
        catch (TlsFileException e)
        {
            throw new CommandException(ExitCode.Usage, e.Message);
        }
    }

    /// <summary>Only the authorities given are trusted, and the server's certificate must name the host that was asked for.</summary>
    private static SslClientAuthenticationOptions Tls(string certificateFile, string keyFile, string authoritiesFile)
    {
        (X509Certificate2 certificate, X509Certificate2Collection chain) = TlsFiles.Identity(certificateFile, keyFile);
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.AddRange(TlsFiles.Authorities(authoritiesFile));
        return new SslClientAuthenticationOptions
        {
            ClientCertificateContext = SslStreamCertificateContext.Create(certificate, chain, offline: true),
            CertificateChainPolicy = policy,
        };
    }

    private static string File(ParseResult parsed, Option<string> option, string variable) => parsed.GetValue(option) ?? Environment(variable)
        ?? throw new CommandException(ExitCode.Usage, $"--server needs {option.Name} FILE (or ${variable})");

    private static string? Environment(string variable) => System.Environment.GetEnvironmentVariable(variable) is { Length: > 0 } set ? set : null;
}
