using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Dataplane.Memory;

/// <summary>What is to become of the TCP and SCTP connections of a backend that is removed. All others die with it.</summary>
public enum BackendRemoval
{
    /// <summary>They go on until they end by themselves.</summary>
    Drain,
    /// <summary>Both sides are sent a reset at their next packet.</summary>
    Reset,
}

/// <summary>
/// How the control plane has connections removed with their backend. It names backends (<see cref="Add"/>), asks for a pass over the table
/// (<see cref="Request"/>), and may use the indexes of those backends again when the pass is done (<see cref="IsDone"/>): until then
/// connections and the affinity of clients name them. It asks when no worker reads a generation any more in which they are backends, or
/// new connections could still come behind the pass. One writer asks; housekeeping carries out.
/// </summary>
public readonly unsafe struct ConnectionSweep
{
    [StructLayout(LayoutKind.Explicit, Size = SizeInBytes)]
    private struct Words
    {
        public const int SizeInBytes = 128;

        /// <summary>Number of the newest pass asked for. Writer: control.</summary>
        [FieldOffset(0)] public ulong Requested;
        /// <summary>Number of the newest pass done. Writer: housekeeping.</summary>
        [FieldOffset(64)] public ulong Done;
    }

    private readonly Words* _words;
    /// <summary>One bit per backend: all of its connections go. Then one bit per backend: TCP and SCTP are reset.</summary>
    private readonly ulong* _gone;
    private readonly ulong* _reset;
    private readonly int _backends;

    /// <param name="section">Of <see cref="SizeInBytes"/>, all zero at first.</param>
    /// <param name="backends">How many indexes there are.</param>
    public ConnectionSweep(byte* section, int backends)
    {
        _words = (Words*)section;
        _backends = backends;
        _gone = (ulong*)(section + Words.SizeInBytes);
        _reset = _gone + WordsFor(backends);
    }

    public static ulong SizeInBytes(int backends) => Words.SizeInBytes + (2ul * sizeof(ulong) * (ulong)WordsFor(backends));

    /// <summary>Names a backend, in the next pass to be asked for.</summary>
    public void Add(uint backend, BackendRemoval removal)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(backend, (uint)_backends);
        if (removal == BackendRemoval.Reset)
        {
            Interlocked.Or(ref _reset[backend / 64], 1ul << (int)(backend % 64));
        }
        Interlocked.Or(ref _gone[backend / 64], 1ul << (int)(backend % 64));
    }

    /// <summary>A backend is to be one again: when its index is used anew, after its pass is done.</summary>
    public void Clear(uint backend)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(backend, (uint)_backends);
        Interlocked.And(ref _gone[backend / 64], ~(1ul << (int)(backend % 64)));
        Interlocked.And(ref _reset[backend / 64], ~(1ul << (int)(backend % 64)));
    }

    /// <summary>Asks for a pass. Gives its number.</summary>
    public ulong Request()
    {
        ulong number = _words->Requested + 1;
        Volatile.Write(ref _words->Requested, number);
        return number;
    }

    /// <summary>Whether a pass is done, and with it all that was named before it was asked for.</summary>
    public bool IsDone(ulong request) => Volatile.Read(ref _words->Done) >= request;

    /// <summary>Number of the newest pass asked for, 0 for none.</summary>
    internal ulong Requested => Volatile.Read(ref _words->Requested);

    /// <summary>Number of the newest pass done.</summary>
    internal ulong Done
    {
        get => Volatile.Read(ref _words->Done);
        set => Volatile.Write(ref _words->Done, value);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal bool IsGone(uint backend) => backend < (uint)_backends && ((Volatile.Read(ref _gone[backend / 64]) >> (int)(backend % 64)) & 1) != 0;

    internal bool IsReset(uint backend) => ((Volatile.Read(ref _reset[backend / 64]) >> (int)(backend % 64)) & 1) != 0;

    private static int WordsFor(int backends) => (backends + 63) / 64;
}
