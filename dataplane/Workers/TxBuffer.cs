namespace Dataplane.Workers;

/// <summary>What a worker has collected for an output port in this poll.</summary>
public unsafe struct TxBuffer
{
    public const int Capacity = 2 * Worker.BurstSize;

    public int Count;
    /// <summary>Whether the port is on the worker's list of ports to flush.</summary>
    public bool IsListed;
    public fixed long Mbufs[Capacity];
}
