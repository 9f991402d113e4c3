using System.Globalization;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.Cli;

/// <summary>Ports as people write them: that of a service, and one that is published as <c>docker run -p</c> has it.</summary>
internal static class PortWords
{
    public const string ServiceSyntax = "[NAME=]PORT[:TARGET][@NODE-PORT][/PROTOCOL]";

    public const string PublishedSyntax = "[[HOST-ADDRESS:]HOST-PORT:]PORT[/PROTOCOL]";

    /// <summary>Reads <see cref="ServiceSyntax"/>: "80", "http=80:8080", "53/udp", "80@30080".</summary>
    /// <exception cref="CommandException">It is none.</exception>
    public static ServicePort ServicePort(string text)
    {
        (string rest, TransportProtocol protocol) = CutProtocol(text, ServiceSyntax);
        string name = "";
        if (rest.IndexOf('=', StringComparison.Ordinal) is var equals and > 0)
        {
            (name, rest) = (rest[..equals], rest[(equals + 1)..]);
        }
        string[] node = rest.Split('@', 2), ports = node[0].Split(':', 2);
        return new ServicePort
        {
            Name = name,
            Protocol = protocol,
            Port = Number(ports[0], text, ServiceSyntax),
            TargetPort = ports.Length > 1 ? Number(ports[1], text, ServiceSyntax) : 0,
            NodePort = node.Length > 1 ? Number(node[1], text, ServiceSyntax) : 0,
        };
    }

    /// <summary>Reads <see cref="PublishedSyntax"/>: "80", "8080:80", "192.0.2.10:8080:80", "[2001:db8::1]:8080:80/udp", "192.0.2.10::80".</summary>
    /// <exception cref="CommandException">It is none.</exception>
    public static PublishedPort PublishedPort(string text)
    {
        (string rest, TransportProtocol protocol) = CutProtocol(text, PublishedSyntax);
        var published = new PublishedPort { Protocol = protocol };
        if (rest.StartsWith('[') && rest.IndexOf("]:", StringComparison.Ordinal) is var end and > 0)
        {
            (published.HostAddress, rest) = (rest[1..end], rest[(end + 2)..]);
        }
        else if (rest.Split(':') is [var address, var host, var port])
        {
            (published.HostAddress, rest) = (address, $"{host}:{port}");
        }
        string[] ports = rest.Split(':');
        published.TargetPort = Number(ports[^1], text, PublishedSyntax);
        published.HostPort = ports.Length switch
        {
            1 => 0,
            2 when ports[0].Length == 0 => 0,
            2 => Number(ports[0], text, PublishedSyntax),
            _ => throw Usage(text, PublishedSyntax),
        };
        return published;
    }

    /// <summary>As in <c>docker ps</c>: "0.0.0.0:8080->80/tcp".</summary>
    public static string Text(ServicePort port)
    {
        string target = port.TargetPort != 0 && port.TargetPort != port.Port ? $":{port.TargetPort}" : "";
        string node = port.NodePort != 0 ? $"@{port.NodePort}" : "";
        return $"{(port.Name.Length > 0 ? $"{port.Name}=" : "")}{port.Port}{target}{node}/{Word(port.Protocol)}";
    }

    public static string Word(TransportProtocol protocol) => protocol.ToString().ToLowerInvariant();

    private static (string Words, TransportProtocol Protocol) CutProtocol(string text, string syntax)
    {
        int slash = text.LastIndexOf('/');
        return slash < 0 ? (text, TransportProtocol.Tcp)
            : Enum.TryParse(text[(slash + 1)..], ignoreCase: true, out TransportProtocol protocol) && char.IsLetter(text[slash + 1]) ? (text[..slash], protocol)
            : throw Usage(text, syntax);
    }

    private static uint Number(string digits, string text, string syntax) =>
        uint.TryParse(digits, NumberStyles.None, CultureInfo.InvariantCulture, out uint number) ? number : throw Usage(text, syntax);

    private static CommandException Usage(string text, string syntax) => new(ExitCode.Usage, $"\"{text}\" is not a port; write {syntax}, with tcp, udp or sctp as protocol");
}
