using System.Diagnostics.CodeAnalysis;

namespace Dataplane.Packets;

/// <summary>
/// An IEEE 802 MAC address as the dataplane keeps it: a number of 48 bits whose lowest byte is the first on the wire, so
/// that one unaligned load of a header gives it and the group bit is bit 0.
/// </summary>
public readonly record struct MacAddress(ulong Value)
{
    public const ulong Mask = 0xFFFF_FFFF_FFFF;

    public bool IsZero => Value == 0;
    public bool IsGroup => (Value & 1) != 0;
    public bool IsBroadcast => Value == Mask;

    /// <summary>01:80:C2:00:00:00 to :0F, which a bridge never forwards (IEEE 802.1D, table 7-10).</summary>
    public static bool IsLinkLocal(ulong mac) => (mac & 0xF0FF_FFFF_FFFF) == 0x0000_00C2_8001;

    /// <summary>01:80:C2:00:00:00, the address of bridge protocol data units.</summary>
    public const ulong BridgeGroup = 0x0000_00C2_8001;

    /// <summary>From six bytes in the order of the wire.</summary>
    public static MacAddress FromBytes(ReadOnlySpan<byte> bytes)
    {
        ulong value = 0;
        for (int i = 5; i >= 0; i--)
        {
            value = (value << 8) | bytes[i];
        }
        return new MacAddress(value);
    }

    public void CopyTo(Span<byte> bytes)
    {
        for (int i = 0; i < 6; i++)
        {
            bytes[i] = (byte)(Value >> (8 * i));
        }
    }

    public byte[] ToBytes()
    {
        byte[] bytes = new byte[6];
        CopyTo(bytes);
        return bytes;
    }

    /// <summary>Reads "02:42:ac:12:00:02" (also with hyphens). Nothing else is an address.</summary>
    public static bool TryParse([NotNullWhen(true)] string? text, out MacAddress mac)
    {
        mac = default;
        if (text is not { Length: 17 } || (text[2] != ':' && text[2] != '-'))
        {
            return false;
        }
        ulong value = 0;
        for (int i = 0; i < 6; i++)
        {
            if (i < 5 && text[(i * 3) + 2] != text[2])
            {
                return false;
            }
            // Digit by digit: .NET's parsers take a NUL behind a number as its end.
            char high = text[i * 3], low = text[(i * 3) + 1];
            if (!char.IsAsciiHexDigit(high) || !char.IsAsciiHexDigit(low))
            {
                return false;
            }
            value |= (ulong)((Digit(high) << 4) | Digit(low)) << (8 * i);
        }
        mac = new MacAddress(value);
        return true;
    }

    public static MacAddress Parse(string text) =>
        TryParse(text, out MacAddress mac) ? mac : throw new FormatException($"\"{text}\" is not a MAC address (02:42:ac:12:00:02)");

    /// <summary>Whether a text is an address as <see cref="ToString"/> writes it: with colons and small letters.</summary>
    public static bool IsPlain(string text)
    {
        if (text.Length != 17)
        {
            return false;
        }
        for (int i = 0; i < text.Length; i++)
        {
            if (i % 3 == 2 ? text[i] != ':' : !char.IsAsciiHexDigitLower(text[i]))
            {
                return false;
            }
        }
        return true;
    }

    public override string ToString() => string.Create(17, Value, static (text, value) =>
    {
        const string Digits = "0123456789abcdef";
        for (int i = 0; i < 6; i++)
        {
            text[i * 3] = Digits[(int)(value >> ((8 * i) + 4)) & 0xF];
            text[(i * 3) + 1] = Digits[(int)(value >> (8 * i)) & 0xF];
            if (i < 5)
            {
                text[(i * 3) + 2] = ':';
            }
        }
    });

    private static int Digit(char c) => c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10;
}
