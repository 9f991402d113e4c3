using Dataplane.PacketTests.Harness;

namespace Dataplane.SystemTests.Nat;

/// <summary>A router between the links of a <see cref="NatNet"/>.</summary>
public interface INatRouter : IDisposable
{
    /// <summary>Gives the router a packet from a station, and takes the packets that it passes on to stations for that.</summary>
    /// <param name="link">The link.</param>
    /// <param name="station">Number of the station on it.</param>
    /// <param name="packet">Its packet.</param>
    List<(int Link, Ip Packet)> Exchange(int link, int station, Ip packet);
}
