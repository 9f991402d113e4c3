namespace Dataplane.Control.State.Etcd;

/// <summary>Which etcd holds desired state, and as whom this node speaks to it.</summary>
public sealed record EtcdOptions
{
    /// <summary>Environment variable with the password of <see cref="User"/>, when no file has it.</summary>
    public const string PasswordVariable = "DATAPLANE_STORE_PASSWORD";

    private const string Scheme = "etcd://";

    /// <summary>The servers, "host:port"; one is used at a time.</summary>
    public required IReadOnlyList<string> Servers { get; init; }

    /// <summary>What all keys begin with: "/dataplane".</summary>
    public required string Prefix { get; init; }

    /// <summary>Name of this node in the cluster.</summary>
    public required string Node { get; init; }

    /// <summary>PEM file of the authorities that may have signed the servers' certificate. With it, or a certificate, TLS is used.</summary>
    public string? AuthorityFile { get; init; }

    /// <summary>PEM files of this node's certificate and key.</summary>
    public string? CertificateFile { get; init; }
    public string? KeyFile { get; init; }

    public string? User { get; init; }

    /// <summary>Text file whose first line is the password.</summary>
    public string? PasswordFile { get; init; }

    /// <summary>How long a call waits for its answer, and a connection for its beginning.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(5);

    public bool Tls => AuthorityFile is not null || CertificateFile is not null;

    /// <summary>For people; no secret is in it.</summary>
    public string Location => $"{Scheme}{string.Join(',', Servers)}{Prefix}";

    /// <summary>Reads <c>etcd://host:2379[,host2:2379]/prefix</c>.</summary>
    /// <exception cref="FormatException">It is not of that form.</exception>
    public static (IReadOnlyList<string> Servers, string Prefix) Parse(string location)
    {
        if (!location.StartsWith(Scheme, StringComparison.Ordinal))
        {
            throw new FormatException("a store is etcd://HOST:PORT[,HOST:PORT]/PREFIX");
        }
        string[] parts = location[Scheme.Length..].Split('/', 2);
        if (parts[0].Contains('@', StringComparison.Ordinal))
        {
            throw new FormatException($"a user is named by --store-user, its password by --store-password-file or ${PasswordVariable}; not in the address, which everybody can read");
        }
        string[] servers = [.. parts[0].Split(',').Select(s => s.Contains(':', StringComparison.Ordinal) ? s : $"{s}:2379")];
        if (servers.FirstOrDefault(s => !Uri.TryCreate($"http://{s}", UriKind.Absolute, out Uri? uri) || uri.Host.Length == 0 || uri.AbsolutePath != "/") is { } wrong)
        {
            throw new FormatException($"\"{wrong}\" is not HOST:PORT");
        }
        string prefix = parts.Length > 1 ? parts[1].Trim('/') : "";
        return (servers, prefix.Length == 0 ? "/dataplane" : $"/{prefix}");
    }
}
