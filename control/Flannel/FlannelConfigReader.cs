using System.Net;
using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>
/// Reads flannel's network configuration by flannel's rules (pkg/subnet/config.go and the backends'), with all that is wrong
/// at once.
/// </summary>
internal static class FlannelConfigReader
{
    private const int MostMtu = 65535;

    /// <param name="json">The value of <c>PREFIX/config</c>.</param>
    /// <exception cref="FlannelConfigException">It cannot be used.</exception>
    public static FlannelConfig Read(string json)
    {
        var problems = new List<string>();
        GoJson config = GoJson.Parse(json, problems);
        bool ipv4 = config.Flag("EnableIPv4") ?? true, ipv6 = config.Flag("EnableIPv6") ?? false;
        if (!ipv4 && !ipv6)
        {
            problems.Add("EnableIPv4 and EnableIPv6 are both off");
        }
        var result = new FlannelConfig
        {
            IPv4 = ipv4 ? Pool(config, ipv6: false, problems) : null,
            IPv6 = ipv6 ? Pool(config, ipv6: true, problems) : null,
            Backend = FlannelBackend.Vxlan,
        };
        result = Backend(config, result, problems);
        return problems.Count == 0 ? result : throw new FlannelConfigException(problems);
    }

    private static SubnetPool? Pool(GoJson config, bool ipv6, List<string> problems)
    {
        (string prefixName, string lengthName, string minName, string maxName) = ipv6
            ? ("IPv6Network", "IPv6SubnetLen", "IPv6SubnetMin", "IPv6SubnetMax") : ("Network", "SubnetLen", "SubnetMin", "SubnetMax");
        int bits = ipv6 ? 128 : 32, usual = ipv6 ? 64 : 24;
        Cidr? prefix = config.Prefix(prefixName, ipv6);
        int? length = (int?)config.Number(lengthName, 0, bits);
        IPAddress? min = config.Address(minName, ipv6), max = config.Address(maxName, ipv6);
        if (prefix is not { } network)
        {
            if (!config.Has(prefixName))
            {
                problems.Add($"{prefixName} is missing");
            }
            return null;
        }
        // The first subnet is nobody's, its first address being that of the network: so two would leave one.
        if (network.Length > bits - 4)
        {
            problems.Add($"{prefixName} {network} is too small: /{bits - 4} at most");
            return null;
        }
        int subnet = length is > 0 and { } l ? l : network.Length <= usual - 2 ? usual : network.Length + 2;
        if (subnet > bits - 2 || subnet < network.Length + 2)
        {
            problems.Add($"{lengthName} is {subnet}: with {prefixName} {network} it goes from {network.Length + 2} to {bits - 2}");
            return null;
        }
        UInt128 size = UInt128.One << (bits - subnet);
        (UInt128 begin, UInt128 end) = network.Range;
        UInt128 first = Border(minName, min, begin + size), last = Border(maxName, max, end - (size - 1));
        if (first > last)
        {
            problems.Add($"{minName} is above {maxName}");
        }
        return new SubnetPool(network, subnet, first, last);

        UInt128 Border(string name, IPAddress? given, UInt128 otherwise)
        {
            // Zero is how Go's structs say "not given".
            if (given is null || given.Number == 0)
            {
                return otherwise;
            }
            if (!network.Contains(given))
            {
                problems.Add($"{name} {given} is outside {prefixName} {network}");
            }
            else if ((given.Number & (size - 1)) != 0)
            {
                problems.Add($"{name} {given} is not the beginning of a /{subnet}");
            }
            return given.Number;
        }
    }

    private static FlannelConfig Backend(GoJson config, FlannelConfig result, List<string> problems)
    {
        const string Remedy = "it has to be {\"Type\": \"vxlan\"} or {\"Type\": \"host-gw\"}";
        if (config.Object("Backend") is not { } backend)
        {
            problems.Add($"Backend is missing, for which flanneld takes \"udp\"; {Remedy}");
            return result;
        }
        switch (backend.Text("Type")?.ToLowerInvariant())
        {
            case "host-gw":
                return result with { Backend = FlannelBackend.HostGateway };
            case "vxlan":
                break;
            case { } other:
                problems.Add($"Backend.Type is \"{other}\", which this switch does not speak; {Remedy}");
                return result;
            default:
                if (!backend.Has("Type"))
                {
                    problems.Add($"Backend.Type is missing; {Remedy}");
                }
                return result;
        }
        if (backend.Flag("GBP") == true)
        {
            problems.Add("Backend.GBP is on: this switch sends and takes the plain header of RFC 7348 only");
        }
        // Read for its type alone: all there is to learn the leases say, and nobody floods.
        _ = backend.Flag("Learning");
        // 0 is not given, as with the kernel.
        return result with
        {
            Vni = (uint)(backend.Number("VNI", 1, 0xFF_FFFF) ?? 1),
            Port = backend.Number("Port", 0, 65535) is > 0 and { } port ? (int)port : FlannelConfig.DefaultPort,
            DirectRouting = backend.Flag("DirectRouting") ?? false,
            Mtu = backend.Number("MTU", 0, MostMtu) is > 0 and { } mtu ? LeastMtu(mtu) : 0,
        };

        int LeastMtu(long mtu)
        {
            int least = result.IPv6 is null ? 68 + FlannelPlanner.OverheadOverIPv4 : 1280 + FlannelPlanner.OverheadOverIPv6;
            if (mtu < least)
            {
                problems.Add($"Backend.MTU is {mtu}: {least} at least, that of the tunnel included");
            }
            return (int)mtu;
        }
    }
}
