namespace Dataplane.Interop.Dpdk;

/// <summary>An operation on a pool, a ring or a port failed. The message names the object and the reason.</summary>
public sealed class DpdkException : Exception
{
    internal DpdkException(string what, int error, string? hint = null)
        : base($"{what}: {Eal.ErrorText(error)}{(hint is null ? "" : $" ({hint})")}")
    {
        Error = Math.Abs(error);
    }

    /// <summary>The same failure, told by a caller who knows what it was for.</summary>
    /// <param name="what">What failed there, in front of the reason.</param>
    /// <param name="reason">What failed here.</param>
    public DpdkException(string what, DpdkException reason)
        : base($"{what}: {reason.Message}", reason)
    {
        Error = reason.Error;
    }

    /// <summary>The error number: an errno value, positive.</summary>
    public int Error { get; }
}
