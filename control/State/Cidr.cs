using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace Dataplane.Control.State;

/// <summary>
/// An IP address and the length of its prefix: "172.18.0.2/16". Unlike <see cref="IPNetwork"/> it keeps the bits behind the
/// prefix, as an interface address has them.
/// </summary>
public readonly record struct Cidr(IPAddress Address, int Length)
{
    public bool IsIPv6 => Address.AddressFamily == AddressFamily.InterNetworkV6;

    /// <summary>Bits of an address of this family, 32 or 128.</summary>
    public int Bits => IsIPv6 ? 128 : 32;

    /// <summary>Reads "address/length". Nothing else is one: no bare address, no scope, no short forms of IPv4.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out Cidr cidr)
    {
        cidr = default;
        int slash = text?.IndexOf('/') ?? -1;
        if (slash < 0
            || !TryParseAddress(text![..slash], out IPAddress? address)
            || !int.TryParse(text.AsSpan(slash + 1), NumberStyles.None, CultureInfo.InvariantCulture, out int length))
        {
            return false;
        }
        cidr = new Cidr(address, length);
        return length <= cidr.Bits;
    }

    /// <summary>Reads an address in its full form ("172.18.0.1", "fd00::1").</summary>
    public static bool TryParseAddress(string? text, [NotNullWhen(true)] out IPAddress? address)
    {
        address = null;
        if (text is null || text.Contains('%') || text.Contains('[') || !IPAddress.TryParse(text, out IPAddress? parsed))
        {
            return false;
        }
        // IPAddress also reads "1" and "0x7f.1"; an operator who writes these made a slip.
        if (parsed.AddressFamily == AddressFamily.InterNetwork && parsed.ToString() != text)
        {
            return false;
        }
        address = parsed;
        return true;
    }

    /// <summary>The prefix alone: the bits behind it are 0.</summary>
    public Cidr Prefix
    {
        get
        {
            byte[] bytes = Address.GetAddressBytes();
            for (int i = 0; i < bytes.Length; i++)
            {
                int kept = Math.Clamp(Length - (8 * i), 0, 8);
                bytes[i] &= (byte)(0xFF << (8 - kept));
            }
            return new Cidr(new IPAddress(bytes), Length);
        }
    }

    /// <summary>Whether an address lies in the prefix.</summary>
    public bool Contains(IPAddress address) =>
        address.AddressFamily == Address.AddressFamily && new Cidr(address, Length).Prefix.Address.Equals(Prefix.Address);

    /// <summary>Whether two prefixes have an address in common: one of them contains the other.</summary>
    public bool Overlaps(Cidr other) => Length <= other.Length ? Contains(other.Address) : other.Contains(Address);

    /// <summary>An address as a number: its first byte is the highest of 4, or of 16.</summary>
    public static UInt128 ToNumber(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out int length);
        return length == 4 ? BinaryPrimitives.ReadUInt32BigEndian(bytes) : BinaryPrimitives.ReadUInt128BigEndian(bytes);
    }

    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Address}/{Length}");
}
