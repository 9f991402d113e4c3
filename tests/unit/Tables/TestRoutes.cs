using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Tables;

/// <summary>Routes in private memory: what a segment's writer and its workers do with them, without a segment.</summary>
internal sealed unsafe class TestRoutes : IDisposable
{
    private readonly byte* _memory;
    private readonly nuint _length;
    private readonly SortedDictionary<int, (uint Root4, uint Root6)> _roots = [];

    public TestRoutes(int bytes)
    {
        _length = (nuint)bytes;
        _memory = (byte*)NativeMemory.AlignedAlloc(_length, 64);
        new Span<byte>(_memory, bytes).Fill(0xA5);
        Writer = new RouteWriter(_memory, _length, []);
    }

    public RouteWriter Writer { get; private set; }
    public RouteTable Table => new(_memory);
    public byte* Memory => _memory;

    /// <summary>Bytes that the committed routes take.</summary>
    public long CommittedBytes { get; private set; }

    public (uint Root4, uint Root6) Roots(int vrf) => _roots.GetValueOrDefault(vrf);

    public void Set(int vrf, string prefix, uint nextHop)
    {
        (bool is4, RoutePrefix parsed) = Parse(prefix);
        if (is4)
        {
            Writer.Set4(vrf, parsed, nextHop);
        }
        else
        {
            Writer.Set6(vrf, parsed, nextHop);
        }
    }

    public bool Remove(int vrf, string prefix)
    {
        (bool is4, RoutePrefix parsed) = Parse(prefix);
        return is4 ? Writer.Remove4(vrf, parsed) : Writer.Remove6(vrf, parsed);
    }

    /// <summary>Commits, with a grace period that is over at once.</summary>
    public void Commit()
    {
        foreach ((int vrf, uint root4, uint root6) in Writer.Touched)
        {
            _roots[vrf] = (root4, root6);
        }
        Writer.Commit();
        Writer.Reclaim();
        CommittedBytes = Writer.UsedBytes;
    }

    /// <summary>The writer dies; the next one finds the committed roots.</summary>
    public RouteWriter TakeOver() => Writer = new RouteWriter(_memory, _length, [.. _roots.Select(r => (r.Key, r.Value.Root4, r.Value.Root6))]);

    public uint Find(int vrf, string address)
    {
        IPAddress ip = IPAddress.Parse(address);
        (ulong high, ulong low) = Number(ip);
        return ip.AddressFamily == AddressFamily.InterNetwork
            ? Table.Find4(Roots(vrf).Root4, (uint)(high >> 32))
            : Table.Find6(Roots(vrf).Root6, high, low);
    }

    /// <summary>As <see cref="Find"/>, of addresses of one family at once.</summary>
    public uint[] FindBurst(int vrf, string[] addresses)
    {
        (ulong High, ulong Low)[] numbers = [.. addresses.Select(a => Number(IPAddress.Parse(a)))];
        bool is4 = IPAddress.Parse(addresses[0]).AddressFamily == AddressFamily.InterNetwork;
        return FindBurst(is4, is4 ? Roots(vrf).Root4 : Roots(vrf).Root6, numbers);
    }

    /// <summary>An IPv4 address is in the upper half of the first number.</summary>
    public uint[] FindBurst(bool is4, uint root, ReadOnlySpan<(ulong High, ulong Low)> addresses)
    {
        uint* four = stackalloc uint[RouteTable.BatchLimit];
        ulong* six = stackalloc ulong[2 * RouteTable.BatchLimit];
        uint* results = stackalloc uint[RouteTable.BatchLimit];
        for (int i = 0; i < addresses.Length; i++)
        {
            four[i] = (uint)(addresses[i].High >> 32);
            (six[2 * i], six[(2 * i) + 1]) = addresses[i];
        }
        if (is4)
        {
            Table.Find4(root, four, results, addresses.Length);
        }
        else
        {
            Table.Find6(root, six, results, addresses.Length);
        }
        return new ReadOnlySpan<uint>(results, addresses.Length).ToArray();
    }

    public static string RandomPrefix4(Random random)
    {
        // Of few addresses, so that prefixes nest.
        uint address = (uint)(random.Next(4) << 30 | random.Next(4) << 22 | random.Next(4) << 14 | random.Next(256));
        return $"{new IPAddress(BinaryPrimitives.ReverseEndianness(address))}/{random.Next(33)}";
    }

    public static string RandomPrefix6(Random random)
    {
        byte[] bytes = new byte[16];
        for (int i = 0; i < 16; i++)
        {
            bytes[i] = (byte)(random.Next(3) == 0 ? random.Next(3) << 6 | random.Next(2) : 0);
        }
        return $"{new IPAddress(bytes)}/{random.Next(129)}";
    }

    public static (bool Is4, RoutePrefix Prefix) Parse(string text)
    {
        string[] parts = text.Split('/');
        IPAddress ip = IPAddress.Parse(parts[0]);
        (ulong high, ulong low) = Number(ip);
        int length = int.Parse(parts[1]);
        return ip.AddressFamily == AddressFamily.InterNetwork
            ? (true, RoutePrefix.Of4((uint)(high >> 32), length))
            : (false, RoutePrefix.Of6(high, low, length));
    }

    public void Dispose() => NativeMemory.AlignedFree(_memory);

    private static (ulong High, ulong Low) Number(IPAddress address)
    {
        byte[] bytes = new byte[16];
        address.GetAddressBytes().CopyTo(bytes, 0);
        return (BinaryPrimitives.ReadUInt64BigEndian(bytes), BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(8)));
    }
}
