using System.Runtime.InteropServices;
using System.Text;

namespace Dataplane.Interop.Dpdk;

/// <summary>Zero-terminated UTF-8, as C wants and gives it.</summary>
internal static unsafe class NativeText
{
    public static byte[] Terminated(string text)
    {
        if (text.Contains('\0')) throw new ArgumentException("A name for C cannot hold a zero character.", nameof(text));
        var bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
        Encoding.UTF8.GetBytes(text, bytes);
        return bytes;
    }

    public static string From(byte* text) => text == null ? "" : Marshal.PtrToStringUTF8((nint)text) ?? "";

    /// <summary>Text in a field of fixed size, which it may fill without a zero at the end.</summary>
    public static string From(ReadOnlySpan<byte> field)
    {
        var end = field.IndexOf((byte)0);
        return Encoding.UTF8.GetString(end < 0 ? field : field[..end]);
    }
}
