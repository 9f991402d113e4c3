using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckStaticMac(DesiredState state, StaticMac mac, ProblemCollector problems)
    {
        if (MacProblem(mac.Mac, out MacAddress address) is { } bad)
        {
            Report("mac", bad);
        }
        if (!state.Networks.TryGetValue(mac.Network, out NetworkEntry? network))
        {
            Report("network", $"network \"{mac.Network}\" does not exist", "networks: " + ListNames(state.Networks.Keys));
        }
        else if (mac.Vlan != 0 && !network.Spec.VlanFiltering)
        {
            Report("vlan", $"network \"{mac.Network}\" does not look at VLANs", "leave vlan out");
        }
        else if (mac.Vlan == 0 && network.Spec.VlanFiltering)
        {
            Report("vlan", $"network \"{mac.Network}\" looks at VLANs, and none is named", "set vlan");
        }
        else if (address == network.Mac)
        {
            Report("mac", $"MAC address {address} is that of network \"{mac.Network}\" itself");
        }
        else if (address == network.SecondMac)
        {
            Report("mac", $"MAC address {address} is that of the router of network \"{mac.Network}\"");
        }
        else if (state.Topology.PeerOf(mac.Network, mac.Mac) is { } peer)
        {
            Report("mac", $"MAC address {mac.Mac} is that of tunnel peer \"{peer.Spec.Name}\"");
        }
        if (mac.Vlan != 0 && !VlanRanges.IsValid(mac.Vlan))
        {
            Report("vlan", VlanText(mac.Vlan));
        }

        PortEntry? port = mac.TargetCase == StaticMac.TargetOneofCase.Port ? state.Ports.GetValueOrDefault(mac.Port) : null;
        switch (mac.TargetCase)
        {
            case StaticMac.TargetOneofCase.Port when port is null:
                Report("port", $"port \"{mac.Port}\" does not exist");
                break;
            case StaticMac.TargetOneofCase.Port when port!.Spec.IsRouted:
                Report("port", $"port \"{mac.Port}\" is a routed port, in no network");
                break;
            case StaticMac.TargetOneofCase.Port when port!.Spec.Network != mac.Network:
                Report("port", $"port \"{mac.Port}\" is in network \"{port!.Spec.Network}\", not in \"{mac.Network}\"");
                break;
            case StaticMac.TargetOneofCase.Drop when !mac.Drop:
                Report("drop", "drop is false", "give a port, or drop: true");
                break;
            case StaticMac.TargetOneofCase.None:
                Report("port", "goes nowhere", "give a port, or drop: true");
                break;
        }

        void Report(string field, string message, string fix = "") => problems.Add(Kind.StaticMac, mac.Name, field, message, fix);
    }
}
