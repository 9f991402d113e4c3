namespace Dataplane.Interop.Dpdk;

/// <summary>DPDK cannot be used on this machine as it is. The message says why, and which command cures it.</summary>
public sealed class DpdkUnavailableException : Exception
{
    public DpdkUnavailableException(string message) : base(message)
    {
    }

    public DpdkUnavailableException(string message, Exception inner) : base(message, inner)
    {
    }
}
