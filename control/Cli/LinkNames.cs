using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary>
/// What <c>dev NAME</c> means, as ip(8) has it: a network with a router, a routed port, or a tunnel peer. The name of a router's port
/// ("blue.router") is taken for that of its network.
/// </summary>
internal static class LinkNames
{
    /// <summary>The kind of resource that a name means, and its name.</summary>
    /// <exception cref="CommandException">It means nothing.</exception>
    public static async Task<(Kind Kind, string Name)> FindAsync(Client client, string name, CancellationToken cancel)
    {
        string plain = name.EndsWith(ResourceKeys.RouterSuffix, StringComparison.Ordinal) ? name[..^ResourceKeys.RouterSuffix.Length] : name;
        foreach ((Kind kind, string text) in new[] { (Kind.Port, name), (Kind.TunnelPeer, name), (Kind.Network, name), (Kind.Network, plain) })
        {
            try
            {
                Resource found = await client.Resources.GetAsync(new GetRequest { Kind = kind, Name = text }, deadline: Client.Deadline, cancellationToken: cancel);
                if (found.Port is not { Routed: null })
                {
                    return (kind, text);
                }
            }
            catch (RpcException e) when (e.StatusCode == StatusCode.NotFound)
            {
                // The next kind, then.
            }
        }
        throw new CommandException(ExitCode.Failed, $"\"{name}\" is neither a network, a routed port nor a tunnel peer");
    }

    /// <summary>What people call the port of a next hop: its network, when it is that of a router.</summary>
    public static string Dev(string port, string network) => network.Length > 0 && port == ResourceKeys.RouterPort(network) ? network : port;
}
