using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using Dataplane.Control.State;

namespace Dataplane.Control.Flannel;

/// <summary>Addresses as numbers to count with (most significant byte first), and as Go writes them into flannel's keys.</summary>
internal static class Addresses
{
    extension(IPAddress address)
    {
        /// <summary>The address as a number of 32 or 128 bits.</summary>
        public UInt128 Number
        {
            get
            {
                Span<byte> bytes = stackalloc byte[16];
                address.TryWriteBytes(bytes, out int length);
                return length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt128BigEndian(bytes);
            }
        }

        /// <summary>The address that is so many behind this one.</summary>
        public IPAddress Plus(uint count) => FromNumber(address.Number + count, address.AddressFamily == AddressFamily.InterNetworkV6 ? 128 : 32);

        /// <summary>
        /// The address in the one form that Go's net.IP has for it (RFC 5952, never with dotted IPv4 inside): keys are compared
        /// by their bytes, and .NET writes some IPv6 addresses otherwise.
        /// </summary>
        public string GoText
        {
            get
            {
                if (address.AddressFamily != AddressFamily.InterNetworkV6)
                {
                    return address.ToString();
                }
                Span<byte> bytes = stackalloc byte[16];
                address.TryWriteBytes(bytes, out _);
                var groups = new ushort[8];
                for (int i = 0; i < groups.Length; i++)
                {
                    groups[i] = BinaryPrimitives.ReadUInt16BigEndian(bytes[(2 * i)..]);
                }
                (int start, int length) = LongestZeros(groups);
                return length < 2 ? Join(groups) : $"{Join(groups[..start])}::{Join(groups[(start + length)..])}";
            }
        }
    }

    extension(Cidr cidr)
    {
        /// <summary>The prefix as Go writes it.</summary>
        public string GoText => string.Create(CultureInfo.InvariantCulture, $"{cidr.Address.GoText}/{cidr.Length}");

        /// <summary>The number of its first and of its last address.</summary>
        public (UInt128 First, UInt128 Last) Range
        {
            get
            {
                UInt128 first = cidr.Prefix.Address.Number;
                return (first, first | (cidr.Length == 0 && cidr.IsIPv6 ? UInt128.MaxValue : (UInt128.One << (cidr.Bits - cidr.Length)) - 1));
            }
        }
    }

    /// <summary>The address of a number.</summary>
    /// <param name="number">Most significant byte first.</param>
    /// <param name="bits">32 or 128.</param>
    public static IPAddress FromNumber(UInt128 number, int bits)
    {
        Span<byte> bytes = stackalloc byte[16];
        BinaryPrimitives.WriteUInt128BigEndian(bytes, number);
        return new IPAddress(bytes[(16 - (bits / 8))..]);
    }

    private static (int Start, int Length) LongestZeros(ReadOnlySpan<ushort> groups)
    {
        (int Start, int Length) best = (0, 0);
        for (int i = 0; i < groups.Length; i++)
        {
            int end = i;
            while (end < groups.Length && groups[end] == 0)
            {
                end++;
            }
            if (end - i > best.Length)
            {
                best = (i, end - i);
            }
        }
        return best;
    }

    private static string Join(ushort[] groups) => string.Join(':', groups.Select(g => g.ToString("x", CultureInfo.InvariantCulture)));
}
