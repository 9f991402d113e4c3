using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary><c>dataplane mac …</c></summary>
internal static class MacCommands
{
    private static readonly Option<uint> Vlan = new("--vlan") { Description = "VLAN, on a network that looks at VLANs", HelpName = "VLAN" };

    public static Command Build() => new Command("mac", "The MAC table: learned, static and drop entries")
    {
        BuildList(), BuildAdd(), BuildDrop(), BuildDelete(), BuildFlush(),
    }.WithExamples("dataplane mac list --network blue", "dataplane mac add 02:42:ac:12:00:63 --network blue --port web", "dataplane mac flush --port web");

    private static Command BuildList()
    {
        var mac = new Argument<string?>("MAC") { Description = "Only this address", Arity = ArgumentArity.ZeroOrOne };
        return new Command("list", "List the MAC table") { mac, Options.Network, Options.Port, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                var request = new ListMacsRequest
                {
                    Network = parsed.GetValue(Options.Network) ?? "",
                    Port = parsed.GetValue(Options.Port) ?? "",
                    Mac = parsed.GetValue(mac) ?? "",
                };
                using AsyncServerStreamingCall<MacEntry> call = client.Stats.ListMacs(request, cancellationToken: cancel);
                await PrintAsync(call.ResponseStream, parsed.GetValue(Options.Output), cancel);
            })
            .WithExamples("dataplane mac list", "dataplane mac list --network blue --port web", "dataplane mac list 02:42:ac:12:00:02 -o json");
    }

    private static Command BuildAdd()
    {
        Argument<string> mac = MacArgument();
        return new Command("add", "Fix an address to a port") { mac, Options.Network, Options.Port, Vlan, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.CreateAsync(client, ResourceKeys.Of(Read(parsed, mac, drop: false)), parsed, cancel))
            .WithExamples("dataplane mac add 02:42:ac:12:00:63 --network blue --port web");
    }

    private static Command BuildDrop()
    {
        Argument<string> mac = MacArgument();
        return new Command("drop", "Drop all packets from and to an address") { mac, Options.Network, Vlan, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) => ResourceOutput.CreateAsync(client, ResourceKeys.Of(Read(parsed, mac, drop: true)), parsed, cancel))
            .WithExamples("dataplane mac drop 02:42:ac:12:00:63 --network blue");
    }

    private static Command BuildDelete()
    {
        Argument<string> mac = MacArgument();
        return new Command("delete", "Delete a static or drop entry") { mac, Options.Network, Vlan, Options.DryRun, Options.Output }
            .Calls((parsed, client, cancel) =>
            {
                StaticMac key = Read(parsed, mac, drop: true);
                return ResourceOutput.DeleteAsync(
                    client, Kind.StaticMac, [ResourceKeys.StaticMacName(key.Network, key.Vlan, key.Mac.ToLowerInvariant())], parsed, cancel);
            })
            .WithExamples("dataplane mac delete 02:42:ac:12:00:63 --network blue");
    }

    private static Command BuildFlush() => new Command("flush", "Forget learned addresses; static ones stay") { Options.Network, Options.Port, Vlan, Options.Output }
        .Calls(async (parsed, client, cancel) =>
        {
            var request = new FlushRequest
            {
                Network = parsed.GetValue(Options.Network) ?? "",
                Port = parsed.GetValue(Options.Port) ?? "",
                Vlan = parsed.GetValue(Vlan),
            };
            FlushResponse response = await client.Macs.FlushAsync(request, deadline: Client.Deadline, cancellationToken: cancel);
            if (!Output.TryPrint(parsed.GetValue(Options.Output), response))
            {
                Output.Line($"{response.Flushed} addresses forgotten");
            }
        })
        .WithExamples("dataplane mac flush", "dataplane mac flush --network blue --vlan 10", "dataplane mac flush --port web");

    private static StaticMac Read(ParseResult parsed, Argument<string> mac, bool drop)
    {
        string network = parsed.GetValue(Options.Network) ?? throw new CommandException(ExitCode.Usage, "which network? Give --network NETWORK");
        var entry = new StaticMac { Network = network, Mac = parsed.GetRequiredValue(mac), Vlan = parsed.GetValue(Vlan) };
        if (drop)
        {
            entry.Drop = true;
        }
        else
        {
            entry.Port = parsed.GetValue(Options.Port) ?? throw new CommandException(ExitCode.Usage, "which port? Give --port PORT");
        }
        return entry;
    }

    private static async Task PrintAsync(IAsyncStreamReader<MacEntry> entries, OutputFormat format, CancellationToken cancel)
    {
        var all = new MacList();
        await foreach (MacEntry entry in entries.ReadAllAsync(cancel))
        {
            all.Macs.Add(entry);
        }
        MacEntry[] sorted = [.. all.Macs.OrderBy(e => e.Network, StringComparer.Ordinal).ThenBy(e => e.Vlan).ThenBy(e => e.Mac, StringComparer.Ordinal)];
        all.Macs.Clear();
        all.Macs.Add(sorted);
        if (Output.TryPrint(format, all))
        {
            return;
        }
        Output.Table(
            ["NETWORK", "VLAN", "MAC", "PORT", "KIND", ">AGE"],
            sorted.Select(e => new[]
            {
                e.Network, e.Vlan == 0 ? "-" : e.Vlan.ToString(CultureInfo.InvariantCulture), e.Mac, e.Drop ? "-" : e.Port,
                e.Drop ? "drop" : e.IsStatic ? "static" : "learned", e.IsStatic ? "-" : $"{e.AgeSeconds} s",
            }));
    }

    private static Argument<string> MacArgument() => new("MAC") { Description = "MAC address, such as 02:42:ac:12:00:63" };
}
