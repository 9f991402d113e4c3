using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>
/// A system call that failed. The message reads "what failed, on which object: the system's text", followed by the
/// usual fix where there is one, so that it can be shown to a person as it is.
/// </summary>
public sealed class LinuxException : Exception
{
    /// <summary>The error number, as in errno(3); compare with the constants of <see cref="Linux.Errno"/>.</summary>
    public int Errno { get; }

    /// <param name="errno">The error number of errno(3).</param>
    /// <param name="what">What was tried and on which object, without a full stop: "create TAP device 'web0'".</param>
    /// <param name="hint">The usual cause and its fix as a sentence, or null.</param>
    /// <param name="inner">The error that led here, or null.</param>
    public LinuxException(int errno, string what, string? hint = null, Exception? inner = null)
        : base(Compose(errno, what, hint), inner)
    {
        Errno = errno;
    }

    /// <summary>The error of the last P/Invoke of this thread that was declared with <c>SetLastError</c>.</summary>
    internal static LinuxException Last(string what, string? hint = null) =>
        new(Marshal.GetLastPInvokeError(), what, hint);

    private static string Compose(int errno, string what, string? hint)
    {
        string text = $"{what}: {Marshal.GetPInvokeErrorMessage(errno)} (errno {errno})";
        return hint is null ? text : $"{text}. {hint}";
    }
}
