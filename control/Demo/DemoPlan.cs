using System.Net;
using System.Text.Json;

namespace Dataplane.Control.Demo;

/// <summary>
/// What a demo makes, by name and address: everything else in this folder asks here, and so does the search for what an
/// earlier demo left behind. The host has the first address of the subnet, the containers those that follow.
/// </summary>
internal sealed record DemoPlan
{
    /// <summary>The network, and the beginning of every name.</summary>
    public const string NetworkName = "demo";
    public const string NamespacePrefix = "dp-demo-";
    public const string HostNamespaceName = NamespacePrefix + "host";
    public const string HostPortName = "host";
    public const string HostDevice = "dp0";

    public required IPNetwork Subnet { get; init; }
    public required IReadOnlyList<Node> Containers { get; init; }
    public required Node Host { get; init; }

    /// <summary>The host's side lives in a namespace of its own.</summary>
    public bool Isolated => Host.Namespace is not null;

    /// <summary>Everything that has an address.</summary>
    public IEnumerable<Node> Nodes => [.. Containers, Host];

    public static DemoPlan Create(int containers, IPNetwork subnet, bool isolated) => new()
    {
        Subnet = subnet,
        Host = new Node("host", HostPortName, isolated ? HostNamespaceName : null, Address(subnet, 1), subnet.PrefixLength),
        Containers =
        [
            .. Enumerable.Range(1, containers).Select(i => new Node(
                NamespacePrefix + i, NamespacePrefix + i, NamespacePrefix + i, Address(subnet, 1 + i), subnet.PrefixLength)),
        ],
    };

    /// <summary>Reads an IPv4 subnet with room for a demo; otherwise says what is wrong with it.</summary>
    public static bool TryParseSubnet(string text, int containers, out IPNetwork subnet, out string problem)
    {
        problem = "";
        if (!IPNetwork.TryParse(text, out subnet) || subnet.BaseAddress.AddressFamily != System.Net.Sockets.AddressFamily.InterNetwork)
        {
            problem = $"'{text}' is not an IPv4 subnet such as 172.18.0.0/16 (with no bit set behind the prefix)";
        }
        else if (subnet.PrefixLength < 8 || (1L << (32 - subnet.PrefixLength)) < containers + 3)
        {
            problem = $"{text}: a demo of {containers} containers needs a prefix of at least 8 bits with {containers + 3} addresses";
        }
        return problem.Length == 0;
    }

    /// <summary>
    /// The routes of this machine that overlap the subnet, one text each, from the output of
    /// <c>ip -json -4 route show table all</c>. Default routes, whole or in a few pieces, overlap everything and do not count.
    /// </summary>
    public static IReadOnlyList<string> Conflicts(IPNetwork subnet, string routes)
    {
        var found = new List<(IPNetwork Prefix, string Text)>();
        using JsonDocument document = JsonDocument.Parse(string.IsNullOrWhiteSpace(routes) ? "[]" : routes);
        foreach (JsonElement route in document.RootElement.EnumerateArray())
        {
            string destination = Text("dst"), device = Text("dev");
            string prefix = destination.Contains('/') ? destination : destination + "/32";
            if (!IPNetwork.TryParse(prefix, out IPNetwork other) || other.PrefixLength < 8 || Text("type") is "broadcast" or "multicast")
            {
                continue;
            }
            if (other.Contains(subnet.BaseAddress) || subnet.Contains(other.BaseAddress))
            {
                bool docker = device == "docker0" || device.StartsWith("br-", StringComparison.Ordinal);
                found.Add((other, device.Length == 0 ? destination : $"{destination} on {device}{(docker ? " (a Docker network)" : "")}"));
            }

            string Text(string name) => route.TryGetProperty(name, out JsonElement value) ? value.GetString() ?? "" : "";
        }
        // A subnet comes with routes to its addresses; naming it is enough.
        return
        [
            .. found.Where(f => !found.Any(g => g.Prefix.PrefixLength < f.Prefix.PrefixLength && g.Prefix.Contains(f.Prefix.BaseAddress)))
                .Select(f => f.Text).Distinct(),
        ];
    }

    private static IPAddress Address(IPNetwork subnet, int offset)
    {
        byte[] bytes = subnet.BaseAddress.GetAddressBytes();
        uint value = System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(bytes) + (uint)offset;
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(bytes, value);
        return new IPAddress(bytes);
    }
}

/// <summary>A container, or the host.</summary>
/// <param name="Name">For people.</param>
/// <param name="Port">Name of its port.</param>
/// <param name="Namespace">Name of its network namespace, null for the machine's own.</param>
internal sealed record Node(string Name, string Port, string? Namespace, IPAddress Address, int PrefixLength)
{
    public string Cidr => $"{Address}/{PrefixLength}";
}
