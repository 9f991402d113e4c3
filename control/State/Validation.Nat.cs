using System.Net;
using Dataplane.Control.Api.V1;

namespace Dataplane.Control.State;

public static partial class Validation
{
    private static void CheckNat(Port port, Nat nat, Report report)
    {
        var mine = new List<IPAddress>();
        List<Cidr> links = [.. port.Routed.AddressesInForce];
        for (int i = 0; i < nat.Addresses.Count; i++)
        {
            string field = $"routed.nat.addresses[{i}]";
            if (!Cidr.TryParseAddress(nat.Addresses[i], out IPAddress? address))
            {
                report(field, $"\"{nat.Addresses[i]}\" is not an IP address", nat.Addresses[i].Contains('/') ? "leave the prefix length out" : "");
                continue;
            }
            if (!IsHostAddress(address))
            {
                report(field, $"{address} cannot be the source of packets");
            }
            else if (links.Exists(l => l.Contains(address)) && !links.Exists(l => l.Address.Equals(address)))
            {
                report(field, $"{address} is on the link, where nobody would answer for it", "add it to routed.addresses");
            }
            if (mine.Contains(address))
            {
                report(field, $"address {address} is named twice");
            }
            mine.Add(address);
        }
        foreach (IGrouping<bool, IPAddress> family in mine.GroupBy(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetworkV6).Where(g => g.Count() > Dataplane.Memory.NatPoolRecord.AddressLimit))
        {
            report("routed.nat.addresses", $"{family.Count()} {(family.Key ? "IPv6" : "IPv4")} addresses, a pool has at most {Dataplane.Memory.NatPoolRecord.AddressLimit}");
        }
        if (nat.FirstPort > ushort.MaxValue || nat.LastPort > ushort.MaxValue)
        {
            report("routed.nat.last_port", $"ports {nat.FirstPort} to {nat.LastPort}: they go from 1 to {ushort.MaxValue}");
        }
        else if (nat.FirstPortInForce > nat.LastPortInForce)
        {
            report("routed.nat.last_port", $"ports {nat.FirstPortInForce} to {nat.LastPortInForce}: the range ends before it begins");
        }
    }
}
