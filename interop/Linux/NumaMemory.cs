using System.Globalization;
using System.Runtime.InteropServices;

namespace Dataplane.Interop.Linux;

/// <summary>Where memory lies on a machine with several NUMA nodes: mbind(2), get_mempolicy(2), set_mempolicy(2).</summary>
public static unsafe partial class NumaMemory
{
    private const int MPOL_DEFAULT = 0, MPOL_PREFERRED = 1, MPOL_INTERLEAVE = 3;
    private const int MPOL_MF_MOVE = 2, MPOL_MF_MOVE_ALL = 4;
    private const int MPOL_F_ADDR = 2;
    private const int MaskBits = 64 * MaskWords, MaskWords = 16;

    private static (nint Bind, nint Get, nint Set) Calls => RuntimeInformation.ProcessArchitecture switch
    {
        Architecture.X64 => (237, 239, 238),
        Architecture.Arm64 => (235, 236, 237),
        var other => throw new PlatformNotSupportedException(other.ToString()),
    };

    /// <summary>NUMA nodes of this machine that have memory; node 0 alone where the kernel does not tell.</summary>
    public static IReadOnlyList<int> Nodes
    {
        get
        {
            const string file = "/sys/devices/system/node/has_memory";
            return File.Exists(file) ? CpuAffinity.Parse(File.ReadAllText(file).Trim()) : [0];
        }
    }

    /// <summary>
    /// Puts memory on a node, or page by page on several in turn, which is fair to readers on all of them. Pages that there are and that this process
    /// has touched are moved when they are on another node; they stay on any of several: <see cref="TakeFrom"/> those beforehand. With CAP_SYS_NICE what other
    /// processes share is moved, too. For a file it holds as long as the file is there.
    /// </summary>
    /// <param name="address">Begin of a page.</param>
    /// <param name="length">Bytes.</param>
    /// <param name="nodes">The nodes, at least one.</param>
    /// <exception cref="LinuxException">A node does not exist.</exception>
    public static void Place(void* address, nuint length, IReadOnlyCollection<int> nodes)
    {
        ulong* mask = stackalloc ulong[MaskWords];
        int policy = Fill(mask, nodes);
        // The kernel takes one bit less than it is told.
        if (syscall(Calls.Bind, address, length, policy, mask, MaskBits + 1, MPOL_MF_MOVE_ALL) == 0)
            return;
        if (Marshal.GetLastPInvokeError() != Errno.EPERM || syscall(Calls.Bind, address, length, policy, mask, MaskBits + 1, MPOL_MF_MOVE) != 0)
            throw LinuxException.Last(string.Create(CultureInfo.InvariantCulture, $"place {length} bytes on NUMA node {string.Join(", ", nodes)}"));
    }

    /// <summary>
    /// Until this is disposed of, on the same thread, pages that the thread makes the kernel allocate, also those of files in memory, come from a
    /// node, or from several in turn.
    /// </summary>
    /// <param name="nodes">The nodes; none for wherever the thread runs.</param>
    /// <exception cref="LinuxException">A node does not exist.</exception>
    public static Preference TakeFrom(IReadOnlyCollection<int> nodes)
    {
        if (nodes.Count == 0)
            return default;
        ulong* mask = stackalloc ulong[MaskWords];
        int policy = Fill(mask, nodes);
        if (syscall(Calls.Set, policy, mask, MaskBits + 1) != 0)
            throw LinuxException.Last(string.Create(CultureInfo.InvariantCulture, $"take memory from NUMA node {string.Join(", ", nodes)}"));
        return new Preference(true);
    }

    /// <summary>See <see cref="TakeFrom"/>.</summary>
    public readonly ref struct Preference
    {
        private readonly bool _isSet;

        internal Preference(bool isSet) => _isSet = isSet;

        public void Dispose()
        {
            if (_isSet)
                syscall(Calls.Set, MPOL_DEFAULT, null, 0);
        }
    }

    /// <summary>Nodes that <see cref="Place"/> put memory on; none where it was not called.</summary>
    public static IReadOnlyList<int> PlaceOf(void* address)
    {
        ulong* mask = stackalloc ulong[MaskWords];
        new Span<ulong>(mask, MaskWords).Clear();
        int policy;
        if (syscall(Calls.Get, &policy, mask, MaskBits, address, MPOL_F_ADDR, 0) != 0)
            throw LinuxException.Last("ask where memory is put");
        var nodes = new List<int>();
        for (int node = 0; node < MaskBits; node++)
        {
            if ((mask[node / 64] >> (node % 64) & 1) != 0)
                nodes.Add(node);
        }
        return nodes;
    }

    private static int Fill(ulong* mask, IReadOnlyCollection<int> nodes)
    {
        new Span<ulong>(mask, MaskWords).Clear();
        foreach (int node in nodes)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(node);
            ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(node, MaskBits);
            mask[node / 64] |= 1ul << (node % 64);
        }
        return nodes.Count > 1 ? MPOL_INTERLEAVE : MPOL_PREFERRED;
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, nint policy, void* mask, nint bits);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, void* address, nuint length, nint policy, void* mask, nuint bits, nint flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint syscall(nint number, int* policy, void* mask, nuint bits, void* address, nint flags, nint unused);
}
