namespace Dataplane.SystemTests.Harness;

/// <summary>By what a node's switch reaches the link between the nodes.</summary>
public enum UplinkKind
{
    /// <summary>AF_PACKET on a kernel device, beside the kernel.</summary>
    Packet,
    /// <summary>AF_XDP on a kernel device.</summary>
    Xdp,
    /// <summary>A TAP device: the host's kernel routes outer packets on to the link.</summary>
    HostTap,
}
