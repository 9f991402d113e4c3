using System.Buffers;
using System.Net;
using System.Text;
using System.Text.Json;
using Dataplane.Packets;

namespace Dataplane.Control.Flannel;

/// <summary>A node's VTEP of one address family, as the backend "vxlan" tells it.</summary>
/// <param name="Vni">VXLAN network identifier; null in leases of old flannelds, which did not say it.</param>
/// <param name="Mac">MAC address of the VTEP's device.</param>
internal readonly record struct Vtep(uint? Vni, MacAddress Mac);

/// <summary>The value of a lease's key: who the node is and how packets reach it. The JSON is flanneld's, byte for byte.</summary>
internal sealed record LeaseAttributes
{
    /// <summary>Address of the node on the underlay; null for a node of IPv6 alone.</summary>
    public IPAddress? PublicIP { get; init; }

    public IPAddress? PublicIPv6 { get; init; }

    /// <summary>By which the node is known: the first of the two that it has.</summary>
    public IPAddress? Address => PublicIP ?? PublicIPv6;

    /// <summary>"vxlan", "host-gw", or a backend that is not ours.</summary>
    public required string BackendType { get; init; }

    public Vtep? Vtep { get; init; }
    public Vtep? VtepV6 { get; init; }

    /// <summary>The node's end of a tunnel in one address family.</summary>
    public (IPAddress? Address, Vtep? Vtep) EndPoint(bool ipv6) => ipv6 ? (PublicIPv6, VtepV6) : (PublicIP, Vtep);

    public string ToJson()
    {
        var buffer = new ArrayBufferWriter<byte>();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteString("PublicIP", (PublicIP ?? IPAddress.Any).ToString());
            json.WriteString("PublicIPv6", PublicIPv6?.GoText);
            if (BackendType.Length > 0)
            {
                json.WriteString("BackendType", BackendType);
            }
            Write(json, "BackendData", Vtep);
            Write(json, "BackendV6Data", VtepV6);
            json.WriteEndObject();
        }
        return Encoding.UTF8.GetString(buffer.WrittenSpan);
    }

    /// <exception cref="FormatException">It is no lease; everything that is wrong with it.</exception>
    public static LeaseAttributes Parse(string json)
    {
        var problems = new List<string>();
        GoJson lease = GoJson.Parse(json, problems);
        string type = lease.Text("BackendType") ?? "";
        IPAddress? ipv4 = lease.Address("PublicIP", ipv6: false), ipv6 = lease.Address("PublicIPv6", ipv6: true);
        var attributes = new LeaseAttributes
        {
            PublicIP = ipv4 is not null && ipv4.Number != 0 ? ipv4 : null,
            PublicIPv6 = ipv6 is not null && ipv6.Number != 0 ? ipv6 : null,
            BackendType = type,
            Vtep = type == "vxlan" ? ReadVtep(lease.Object("BackendData"), "BackendData", problems) : null,
            VtepV6 = type == "vxlan" ? ReadVtep(lease.Object("BackendV6Data"), "BackendV6Data", problems) : null,
        };
        return problems.Count == 0 ? attributes : throw new FormatException(string.Join("; ", problems));
    }

    private static void Write(Utf8JsonWriter json, string name, Vtep? vtep)
    {
        if (vtep is { } data)
        {
            json.WriteStartObject(name);
            json.WriteNumber("VNI", data.Vni ?? 0);
            json.WriteString("VtepMAC", data.Mac.ToString());
            json.WriteEndObject();
        }
    }

    private static Vtep? ReadVtep(GoJson? data, string name, List<string> problems)
    {
        if (data is null)
        {
            return null;
        }
        string text = data.Text("VtepMAC") ?? "";
        if (!MacAddress.TryParse(text, out MacAddress mac) || mac.IsZero || mac.IsGroup)
        {
            problems.Add($"{name}.VtepMAC is \"{text}\", not the MAC address of a device");
        }
        return new Vtep((uint?)data.Number("VNI", 0, 0xFF_FFFF), mac);
    }
}
