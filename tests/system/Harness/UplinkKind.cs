namespace Dataplane.SystemTests.Harness;

/// <summary>By what a node's switch reaches the link between the nodes.</summary>
public enum UplinkKind
{
    /// <summary>A kernel device, beside the kernel.</summary>
    Netdev,
    /// <summary>The same by DPDK's driver over AF_PACKET.</summary>
    Packet,
    /// <summary>DPDK's driver over AF_XDP.</summary>
    Xdp,
    /// <summary>A TAP device: the host's kernel routes outer packets on to the link.</summary>
    HostTap,
}
