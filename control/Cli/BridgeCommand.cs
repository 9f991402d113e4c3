using System.CommandLine;
using System.Globalization;
using Dataplane.Control.Api.V1;
using Grpc.Core;

namespace Dataplane.Control.Cli;

/// <summary>
/// <c>dataplane bridge fdb</c>: the MAC table as <c>bridge fdb</c> of iproute2 prints it, with its words, for eyes and scripts that
/// know it. A network stands in the place of the bridge, a port in that of the device.
/// </summary>
internal static class BridgeCommand
{
    public static Command Build()
    {
        var words = new Argument<string[]>("WORDS") { Description = "[ show ] [ br NETWORK ] [ dev PORT ] [ vlan VLAN ] [ dynamic | static ]", Arity = ArgumentArity.ZeroOrMore };
        Command fdb = new Command("fdb", "The MAC table, as bridge(8) prints it") { words, Options.Output }
            .Calls(async (parsed, client, cancel) =>
            {
                (ListMacsRequest request, Func<MacEntry, bool> matches) = Parse(parsed.GetValue(words) ?? []);
                var all = new MacList();
                using AsyncServerStreamingCall<MacEntry> call = client.Stats.ListMacs(request, cancellationToken: cancel);
                await foreach (MacEntry entry in call.ResponseStream.ReadAllAsync(cancel))
                {
                    if (matches(entry))
                    {
                        all.Macs.Add(entry);
                    }
                }
                if (!Output.TryPrint(parsed.GetValue(Options.Output), all))
                {
                    foreach (MacEntry entry in all.Macs)
                    {
                        Output.Line(Line(entry));
                    }
                }
            })
            .WithExamples("dataplane bridge fdb", "dataplane bridge fdb show br blue dev web", "dataplane bridge fdb show vlan 10 dynamic");
        return new Command("bridge", "What bridge(8) of iproute2 shows of a kernel bridge") { fdb }
            .WithExamples("dataplane bridge fdb show br blue");
    }

    /// <summary><c>02:42:ac:12:00:02 dev web vlan 10 master blue static</c></summary>
    internal static string Line(MacEntry e) =>
        e.Mac + (e.Port.Length > 0 ? $" dev {e.Port}" : "") + (e.Vlan != 0 ? string.Create(CultureInfo.InvariantCulture, $" vlan {e.Vlan}") : "")
        + $" master {e.Network}" + (e.IsStatic ? " static" : "") + (e.Drop ? " blackhole" : "");

    private static (ListMacsRequest Request, Func<MacEntry, bool> Matches) Parse(string[] words)
    {
        var request = new ListMacsRequest();
        uint vlan = 0;
        bool? wantStatic = null;
        for (int i = 0; i < words.Length; i++)
        {
            string word = words[i];
            switch (word)
            {
                case "show" or "list" or "lst" when i == 0:
                    break;
                case "br":
                    request.Network = Next();
                    break;
                case "dev" or "brport":
                    request.Port = Next();
                    break;
                case "vlan" when uint.TryParse(Next(), NumberStyles.None, CultureInfo.InvariantCulture, out vlan):
                    break;
                case "dynamic" or "static" or "permanent":
                    wantStatic = word != "dynamic";
                    break;
                default:
                    throw new CommandException(ExitCode.Usage, $"\"{words[i]}\" is not understood; the words are: show br NETWORK dev PORT vlan VLAN dynamic static");
            }

            string Next() => ++i < words.Length ? words[i] : throw new CommandException(ExitCode.Usage, $"a name or a number is missing behind \"{word}\"");
        }
        return (request, e => (vlan == 0 || e.Vlan == vlan) && (wantStatic is null || e.IsStatic == wantStatic));
    }
}
