using System.Globalization;
using Dataplane.Control.Api.V1;
using Dataplane.Packets;

namespace Dataplane.ThroughputBench.Control;

/// <summary>Static addresses, one for each number.</summary>
public static class Addresses
{
    public static string Text(int number) => string.Create(CultureInfo.InvariantCulture,
        $"02:00:{(number >> 24) & 0xFF:x2}:{(number >> 16) & 0xFF:x2}:{(number >> 8) & 0xFF:x2}:{number & 0xFF:x2}");

    /// <summary>As the table has it.</summary>
    public static ulong Value(int number) => MacAddress.Parse(Text(number)).Value;

    public static Resource Resource(int number) =>
        new() { StaticMac = new StaticMac { Network = DaemonSubject.Network, Mac = Text(number), Port = "target" } };
}
