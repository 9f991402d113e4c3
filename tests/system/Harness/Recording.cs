using System.Buffers.Binary;

namespace Dataplane.SystemTests.Harness;

/// <summary>The real <c>tcpdump</c> on a device. VLAN tags that the kernel took off are back in the frames.</summary>
public sealed class Recording : IDisposable
{
    private readonly List<byte[]> _frames = [];
    private readonly Tool _tcpdump;

    internal Recording(Namespace ns, string device, string filter)
    {
        // A buffer for all that a test sends, so that what is missing was not lost here.
        string[] command = ["tcpdump", "-i", device, "-n", "-U", "--immediate-mode", "-B", "32768", "-s", "2048", "-Z", "root", "-w", "-"];
        _tcpdump = Tool.Start(ns.Inside([.. command, .. filter.Length > 0 ? new[] { filter } : []]), reader: Read);
        _tcpdump.WaitFor("listening on");
    }

    /// <summary>All frames so far.</summary>
    public IReadOnlyList<byte[]> Frames { get { lock (_frames) { return [.. _frames]; } } }

    /// <summary>Waits for a frame.</summary>
    public void WaitFor(byte[] frame) => WaitFor(f => f.AsSpan().SequenceEqual(frame), $"frame {Convert.ToHexString(frame.AsSpan(0, Math.Min(frame.Length, 32)))}…");

    /// <summary>Waits for a frame.</summary>
    public void WaitFor(Func<byte[], bool> condition, string what) =>
        Until.True(() => Frames.Any(condition), what, () => string.Join('\n', Frames.Select(f => Convert.ToHexString(f.AsSpan(0, Math.Min(f.Length, 64))))));

    public void Dispose() => _tcpdump.Dispose();

    /// <summary>Format: https://www.ietf.org/archive/id/draft-ietf-opsawg-pcap-04.html.</summary>
    private void Read(Stream stream)
    {
        Span<byte> fileHeader = stackalloc byte[24], packetHeader = stackalloc byte[16];
        if (stream.ReadAtLeast(fileHeader, fileHeader.Length, throwOnEndOfStream: false) < fileHeader.Length)
        {
            return;
        }
        while (stream.ReadAtLeast(packetHeader, packetHeader.Length, throwOnEndOfStream: false) == packetHeader.Length)
        {
            byte[] frame = new byte[BinaryPrimitives.ReadInt32LittleEndian(packetHeader[8..])];
            if (stream.ReadAtLeast(frame, frame.Length, throwOnEndOfStream: false) < frame.Length)
            {
                return;
            }
            lock (_frames)
            {
                _frames.Add(frame);
            }
        }
    }
}
