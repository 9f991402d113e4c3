namespace Dataplane.ThroughputBench.Kernel;

/// <summary>A workload that Linux can route too: two ports, on each a link with a router's address and one neighbour.</summary>
internal interface IKernelWorkload
{
    /// <summary>The links, in the order of the ports.</summary>
    IReadOnlyList<KernelLink> Links { get; }

    /// <summary>What nftables is told.</summary>
    string Rules { get; }

    /// <summary>Why it cannot be measured in a table with room for so many connections: "has no ...". Null when it can.</summary>
    string? KernelObstacle(int connections);
}

/// <summary>A link of the router.</summary>
/// <param name="Mac">Of the router.</param>
/// <param name="Address">Of the router, with the length of the prefix.</param>
/// <param name="Peer">The neighbour.</param>
/// <param name="PeerMac">Its MAC address.</param>
/// <param name="Behind">The prefix that the neighbour leads to.</param>
internal sealed record KernelLink(string Mac, string Address, string Peer, string PeerMac, string Behind);
