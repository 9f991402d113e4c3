using System.CommandLine;
using System.Net;
using Dataplane.Control.Api.Access;

namespace Dataplane.Control.Cli;

/// <summary>Options of <c>dataplane run</c> to serve the API over TCP: all of them, or none.</summary>
internal static class ListenOptions
{
    public static Option<string> Listen { get; } = new("--listen") { Description = "Serve the API over TCP too, with mutual TLS; needs the three below", HelpName = "ADDRESS:PORT" };
    public static Option<string> Certificate { get; } = new("--tls-cert") { Description = "PEM certificate of this server, with intermediate ones behind it", HelpName = "FILE" };
    public static Option<string> Key { get; } = new("--tls-key") { Description = "PEM key of this server's certificate", HelpName = "FILE" };
    public static Option<string> ClientAuthorities { get; } = new("--tls-client-ca") { Description = "PEM certificates of those who issue clients' certificates", HelpName = "FILE" };

    /// <summary>Null without any of the options.</summary>
    /// <exception cref="CommandException">Some are missing, or cannot be used.</exception>
    public static TlsEndpoint? Read(ParseResult parsed)
    {
        Option<string>[] all = [Listen, Certificate, Key, ClientAuthorities];
        string[] missing = [.. all.Where(o => parsed.GetValue(o) is null).Select(o => o.Name)];
        if (missing.Length == all.Length)
        {
            return null;
        }
        if (missing.Length > 0)
        {
            throw new CommandException(ExitCode.Usage, $"the API is served over TCP with mutual TLS only: {string.Join(", ", missing)} missing");
        }
        string text = parsed.GetValue(Listen)!;
        // IPEndPoint takes an address alone for one with port 0, and "1:2" for the address ::1:2.
        if (!IPEndPoint.TryParse(text, out IPEndPoint? address) || !text.EndsWith($":{address.Port}", StringComparison.Ordinal) || address.Port == 0)
        {
            throw new CommandException(ExitCode.Usage, $"--listen takes an address and a port, 10.0.0.1:7411, 0.0.0.0:7411 or [::]:7411, not \"{text}\"");
        }
        try
        {
            return TlsEndpoint.Load(address, parsed.GetValue(Certificate)!, parsed.GetValue(Key)!, parsed.GetValue(ClientAuthorities)!);
        }
        catch (TlsFileException e)
        {
            throw new CommandException(ExitCode.Usage, e.Message);
        }
    }
}
