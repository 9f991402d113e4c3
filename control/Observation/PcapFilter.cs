using System.Runtime.InteropServices;
using Dataplane.Observation;

namespace Dataplane.Control.Observation;

/// <summary>A filter that cannot be used, with the reason in libpcap's words.</summary>
public sealed class FilterException(string message) : Exception(message);

/// <summary>
/// Compiles filters in the language of tcpdump, pcap-filter(7), with libpcap's own compiler, so that they mean here what they
/// mean there. libpcap is there where DPDK is, which has a driver on it.
/// </summary>
public static unsafe partial class PcapFilter
{
    private const string Library = "libpcap";
    private static readonly string[] FileNames = ["libpcap.so.0.8", "libpcap.so.1", "libpcap.so"];

    private const int Ethernet = 1, SnapLength = 262_144;
    private const uint NetmaskUnknown = uint.MaxValue;

    static PcapFilter() => NativeLibrary.SetDllImportResolver(typeof(PcapFilter).Assembly, (name, _, _) => name == Library ? Load() : 0);

    /// <summary>Compiles a filter; an empty one gives an empty program, which lets every packet pass.</summary>
    /// <exception cref="FilterException">It is not understood, or libpcap is missing.</exception>
    public static IReadOnlyList<BpfInstruction> Compile(string filter)
    {
        if (string.IsNullOrWhiteSpace(filter))
        {
            return [];
        }
        nint handle;
        try
        {
            handle = pcap_open_dead(Ethernet, SnapLength);
        }
        catch (DllNotFoundException)
        {
            throw new FilterException("filters need libpcap, which is not installed: apt-get install libpcap0.8");
        }
        if (handle == 0)
        {
            throw new FilterException("libpcap has no memory left");
        }
        try
        {
            Program program = default;
            if (pcap_compile(handle, &program, filter, optimize: 1, NetmaskUnknown) != 0)
            {
                throw new FilterException($"\"{filter}\": {Marshal.PtrToStringUTF8(pcap_geterr(handle))}");
            }
            BpfInstruction[] instructions = new ReadOnlySpan<BpfInstruction>(program.Instructions, (int)program.Length).ToArray();
            pcap_freecode(&program);
            return BpfFilter.Problem(instructions) is { } problem ? throw new FilterException($"\"{filter}\": {problem}") : instructions;
        }
        finally
        {
            pcap_close(handle);
        }
    }

    private static nint Load() =>
        FileNames.Select(name => NativeLibrary.TryLoad(name, out nint library) ? library : 0).FirstOrDefault(library => library != 0);

    /// <summary>struct bpf_program</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Program
    {
        public uint Length;
        public BpfInstruction* Instructions;
    }

    [LibraryImport(Library)]
    private static partial nint pcap_open_dead(int linkType, int snapLength);

    [LibraryImport(Library, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int pcap_compile(nint handle, Program* program, string filter, int optimize, uint netmask);

    [LibraryImport(Library)]
    private static partial nint pcap_geterr(nint handle);

    [LibraryImport(Library)]
    private static partial void pcap_freecode(Program* program);

    [LibraryImport(Library)]
    private static partial void pcap_close(nint handle);
}
