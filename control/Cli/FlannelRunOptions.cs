using System.CommandLine;
using System.Net;
using System.Net.Sockets;
using Dataplane.Control.Flannel;
using Dataplane.Control.State;

namespace Dataplane.Control.Cli;

/// <summary>Options of <c>dataplane run</c> to be a node of a flannel network. They go with --store etcd://...</summary>
internal static class FlannelRunOptions
{
    public static Option<bool> Enabled { get; } = new("--flannel") { Description = "Be a node of the flannel network whose keys are in the etcd of --store" };
    public static Option<string> Prefix { get; } = new("--flannel-prefix") { Description = $"What flannel's keys begin with (default: {FlannelOptions.DefaultPrefix})", HelpName = "KEY" };
    public static Option<string> SubnetFile { get; } = new("--flannel-subnet-file") { Description = $"Where to write this node's subnet and MTU for others (default: {Flannel.SubnetFile.DefaultPath})", HelpName = "FILE" };
    public static Option<string> Underlay { get; } = new("--underlay") { Description = "Routed port by which the other nodes are reached", HelpName = "PORT" };
    public static Option<string> PublicIP { get; } = new("--public-ip") { Description = "IPv4 address by which the other nodes reach this one (default: the first of --underlay)", HelpName = "ADDRESS" };
    public static Option<string> PublicIPv6 { get; } = new("--public-ipv6") { Description = "The same for IPv6", HelpName = "ADDRESS" };

    public static IEnumerable<Option> All => [Enabled, Prefix, SubnetFile, Underlay, PublicIP, PublicIPv6];

    /// <summary>Null without --flannel.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="hasEtcd">Whether desired state is in an etcd.</param>
    /// <exception cref="CommandException">Some are missing, or cannot be used.</exception>
    public static FlannelOptions? Read(ParseResult parsed, bool hasEtcd)
    {
        if (!parsed.GetValue(Enabled))
        {
            return All.FirstOrDefault(o => parsed.GetResult(o) is { Implicit: false }) is { } alone
                ? throw new CommandException(ExitCode.Usage, $"{alone.Name} goes with --flannel")
                : null;
        }
        if (!hasEtcd)
        {
            throw new CommandException(ExitCode.Usage, "--flannel goes with --store etcd://...: its leases are in etcd");
        }
        if (parsed.GetValue(Underlay) is not { Length: > 0 } underlay)
        {
            throw new CommandException(ExitCode.Usage, "--flannel goes with --underlay: the routed port by which the other nodes are reached");
        }
        string prefix = FlannelOptions.Clean(parsed.GetValue(Prefix) ?? FlannelOptions.DefaultPrefix);
        if (prefix.Trim('/').Length == 0)
        {
            throw new CommandException(ExitCode.Usage, "--flannel-prefix cannot be empty");
        }
        return new FlannelOptions
        {
            Underlay = underlay,
            Prefix = prefix,
            SubnetFile = Path.GetFullPath(parsed.GetValue(SubnetFile) ?? Flannel.SubnetFile.DefaultPath),
            PublicIP = Address(parsed, PublicIP, AddressFamily.InterNetwork),
            PublicIPv6 = Address(parsed, PublicIPv6, AddressFamily.InterNetworkV6),
        };
    }

    private static IPAddress? Address(ParseResult parsed, Option<string> option, AddressFamily family) => parsed.GetValue(option) is not { } text ? null
        : Cidr.TryParseAddress(text, out IPAddress? address) && address.AddressFamily == family ? address
        : throw new CommandException(ExitCode.Usage, $"{option.Name} takes an {(family == AddressFamily.InterNetwork ? "IPv4" : "IPv6")} address, not \"{text}\"");
}
