using Dataplane.Packets;

namespace Dataplane.ThroughputBench.Traffic;

/// <summary>
/// The packets of a capture file spread over the receive queues of a port, as a network card does it (receive-side scaling): by a hash of addresses and ports,
/// so that a flow has one queue. What a connection has in the other direction is another flow, with different addresses where it is translated, and may
/// arrive in another queue and so at another worker.
/// </summary>
public static class QueueFiles
{
    /// <summary>A file for each queue, beside the given one; that itself when there is one queue. Each has as many flows as the others, or one more.</summary>
    /// <param name="path">The file, with as many flows as there are queues at least.</param>
    /// <param name="queues">How many.</param>
    public static IReadOnlyList<string> Spread(string path, int queues)
    {
        if (queues == 1)
        {
            return [path];
        }
        List<byte[]> packets = PcapReader.Read(path);
        uint[] hashes = [.. packets.Select(HashOf)];
        uint[] flows = [.. hashes.Distinct().Order()];
        ArgumentOutOfRangeException.ThrowIfLessThan(flows.Length, queues);
        var places = new Dictionary<uint, int>(flows.Length);
        for (int i = 0; i < flows.Length; i++)
        {
            places.Add(flows[i], (int)((long)i * queues / flows.Length));
        }
        string[] paths = [.. Enumerable.Range(0, queues).Select(queue => $"{path}.{queue}")];
        PcapWriter[] files = [.. paths.Select(name => new PcapWriter(name))];
        for (int i = 0; i < packets.Count; i++)
        {
            files[places[hashes[i]]].Write(packets[i]);
        }
        foreach (PcapWriter file in files)
        {
            file.Dispose();
        }
        return paths;
    }

    private static unsafe uint HashOf(byte[] packet)
    {
        fixed (byte* data = packet)
        {
            return FlowHash.OfFrame(data, packet.Length, out _);
        }
    }
}
