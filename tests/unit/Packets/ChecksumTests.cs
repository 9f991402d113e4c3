using System.Buffers.Binary;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.UnitTests.Packets;

/// <summary>The Internet checksum, against packets that a kernel made and against the definition, word by word.</summary>
public sealed unsafe class ChecksumTests
{
    /// <summary>RFC 1071, section 2, as it says it: 16-bit words in network order, carries added at once.</summary>
    private static ushort Naive(ReadOnlySpan<byte> data)
    {
        uint sum = 0;
        for (int i = 0; i < data.Length; i++)
        {
            sum += i % 2 == 0 ? (uint)data[i] << 8 : data[i];
            sum = (sum & 0xFFFF) + (sum >> 16);
        }
        return (ushort)~sum;
    }

    /// <summary>As it would stand in a header, read as a number of the network.</summary>
    private static ushort Of(ReadOnlySpan<byte> data, ulong sum = 0)
    {
        fixed (byte* p = data)
        {
            return BinaryPrimitives.ReverseEndianness(Checksum.Finish(Checksum.Add(sum, p, (uint)data.Length)));
        }
    }

    [Theory]
    [InlineData("", 0xFFFF)]
    [InlineData("00", 0xFFFF)]
    [InlineData("0000", 0xFFFF)]
    [InlineData("ffff", 0x0000)]
    [InlineData("ff", 0x00FF)]
    [InlineData("fffffffe", 0x0001)]
    [InlineData("0001f203f4f5f6f7", 0x220D)] // the example of RFC 1071, section 3
    [InlineData("450000730000400040110000c0a80001c0a800c7", 0xB861)]
    public void Known_sums(string hex, int checksum) => Assert.Equal(checksum, Of(Convert.FromHexString(hex)));

    /// <summary>IP packets, captured behind a Linux 6 kernel that was told to leave nothing to the hardware.</summary>
    public static TheoryData<string, string> Captured => new()
    {
        { "ICMP echo request, 5 bytes", "4500002170a6400040014632c0000201c0000202080097eb5a0f0001000102 0304" },
        { "ICMP echo reply, 5 bytes", "45000021cddf0000400128f9c0000202c000020100009feb5a0f0001000102 0304" },
        { "UDP, 3 bytes", "4500001f7c95400040113a35c0000201c0000202c7c90035000be0706f6464" },
        { "UDP, 4 bytes", "450000207c96400040113a33c0000201c0000202c7c90035000ce8ee6576656e" },
        { "TCP SYN", "4500003c6f5f400040064759c0000201c0000202c62a005042df9d3500000000a002faf03cec0000020405b40402080aabf4399800000000 0103030a" },
        { "TCP RST", "45000028000040004006b6ccc0000202c00002010050c62a0000000042df9d365014 0000853c0000" },
        { "UDP over IPv6, 3 bytes", "600e383e000b114020010db800000000000000000000000120010db800000000000000000000000297d70035000b38f26f6464" },
        { "UDP over IPv6, 4 bytes", "600e383e000c114020010db800000000000000000000000120010db800000000000000000000000297d70035000c41706576656e" },
        {
            "TCP SYN over IPv6", "600647cd0028064020010db800000000000000000000000120010db8000000000000000000000002"
                + "874a0050f9ce926100000000a002fd2074420000020405a00402080a83a3e3ca000000000103030a"
        },
        { "ICMPv6 echo request", "6002480000103a4020010db800000000000000000000000120010db80000000000000000000000028000be1e5a100001 0001020304050607" },
    };

    [Theory]
    [MemberData(nameof(Captured))]
    public void A_kernels_packets(string what, string hex)
    {
        byte[] packet = Convert.FromHexString(hex.Replace(" ", "", StringComparison.Ordinal));
        bool v6 = packet[0] >> 4 == 6;
        int header = v6 ? 40 : 20;
        byte protocol = packet[v6 ? 6 : 9];
        if (!v6)
        {
            Assert.True(Of(packet.AsSpan(0, header)) == 0, what);
            Assert.Equal(Take(packet, 10), Of(packet.AsSpan(0, header)));
        }
        int field = header + protocol switch { 1 or 58 => 2, 6 => 16, _ => 6 };
        ulong pseudo = 0;
        if (protocol != 1) // ICMP alone has no pseudo-header
        {
            fixed (byte* p = packet)
            {
                pseudo = Checksum.Add(0, p + (v6 ? 8 : 12), v6 ? 32u : 8u);
            }
            pseudo += BinaryPrimitives.ReverseEndianness((ushort)protocol) + (ulong)BinaryPrimitives.ReverseEndianness((ushort)(packet.Length - header));
        }
        Assert.Equal(0, Of(packet.AsSpan(header), pseudo));
        Assert.Equal(Take(packet, field), Of(packet.AsSpan(header), pseudo));
    }

    /// <summary>A header that loses one of its time to live, and has other addresses besides: whatever its checksum was, and whatever the addresses change.</summary>
    [Theory]
    [InlineData(0x0001)]
    [InlineData(0x0002)]
    [InlineData(0x7FFF)]
    [InlineData(0x8000)]
    [InlineData(0xFFFE)]
    [InlineData(0xFFFF)] // nothing changes
    public void A_header_whose_time_to_live_and_addresses_change(int change)
    {
        byte* ip = stackalloc byte[IPv4Header.MinLength];
        for (int was = 0; was <= 0xFFFF; was++)
        {
            ip[8] = 64;
            ip[9] = 17;
            *(ushort*)(ip + 10) = (ushort)was;
            Assert.Equal(17, IPv4Header.DecrementTtl(ip, (ushort)change));
            Assert.Equal((63, 17), (ip[8], ip[9]));
            // RFC 1624, equation 3; the time to live is the lower byte of its word in memory.
            int sum = (ushort)~was + change + (0xFFFF - (64 | (17 << 8))) + (63 | (17 << 8));
            Assert.Equal(Canonical((ushort)~Checksum.Fold((ulong)sum)), Canonical(*(ushort*)(ip + 10)));
        }

        // All ones, which no sum gives, are zero, too.
        static int Canonical(ushort checksum) => checksum == 0xFFFF ? 0 : checksum;
    }

    /// <summary>A checksum of TCP or UDP, whatever it was, where what it covers changes.</summary>
    [Theory]
    [InlineData(0x0001)]
    [InlineData(0x7FFF)]
    [InlineData(0x8000)]
    [InlineData(0xFFFE)]
    [InlineData(0xFFFF)]
    public void A_checksum_of_which_something_changes(int change)
    {
        ushort field;
        for (int was = 0; was <= 0xFFFF; was++)
        {
            ushort now = (ushort)~Checksum.Fold((ulong)(ushort)~was + (ushort)change);
            field = (ushort)was;
            NatRewrite.CorrectBy((byte*)&field, (ushort)change, Wire.ProtocolTcp);
            Assert.Equal(now, field);
            field = (ushort)was;
            NatRewrite.CorrectBy((byte*)&field, (ushort)change, Wire.ProtocolUdp);
            Assert.Equal(was == 0 ? 0 : now == 0 ? 0xFFFF : now, field);
        }
    }

    [Fact]
    public void Every_length_and_alignment()
    {
        byte[] bytes = new byte[400];
        new Random(1).NextBytes(bytes);
        for (int start = 0; start < 40; start++)
        {
            for (int length = 0; start + length <= bytes.Length; length++)
            {
                ReadOnlySpan<byte> data = bytes.AsSpan(start, length);
                Assert.Equal(Naive(data), Of(data));
            }
        }
    }

    [Theory]
    [InlineData(0xFF, 65_535)] // as many carries as there can be
    [InlineData(0xFF, 65_534)]
    [InlineData(0x00, 65_535)]
    [InlineData(0x80, 65_535)]
    [InlineData(0x01, 9_018)]
    public void No_carry_is_lost_in_a_large_packet(byte fill, int length)
    {
        byte[] bytes = new byte[length];
        bytes.AsSpan().Fill(fill);
        Assert.Equal(Naive(bytes), Of(bytes));
    }

    [Fact]
    public void Only_the_bytes_asked_for_count()
    {
        byte[] bytes = new byte[64];
        for (int length = 0; length < 32; length++)
        {
            bytes.AsSpan().Fill(0xA5);
            bytes.AsSpan(16, length).Clear();
            Assert.Equal(0xFFFF, Of(bytes.AsSpan(16, length)));
        }
    }

    [Fact]
    public void A_sum_can_be_taken_in_pieces_of_even_length()
    {
        byte[] bytes = new byte[101];
        new Random(2).NextBytes(bytes);
        fixed (byte* p = bytes)
        {
            for (uint cut = 0; cut <= bytes.Length; cut += 2)
            {
                ulong sum = Checksum.Add(Checksum.Add(0, p, cut), p + cut, (uint)bytes.Length - cut);
                Assert.Equal(Naive(bytes), BinaryPrimitives.ReverseEndianness(Checksum.Finish(sum)));
            }
        }
    }

    [Theory]
    [InlineData(0ul, 0)]
    [InlineData(0xFFFFul, 0xFFFF)] // "minus zero" stays: the complement is 0
    [InlineData(0x1_0000ul, 1)]
    [InlineData(0x1_FFFFul, 1)]
    [InlineData(0xFFFF_FFFFul, 0xFFFF)]
    [InlineData(0x1_0000_0000ul, 1)]
    [InlineData(0xFFFF_FFFF_FFFF_FFFFul, 0xFFFF)]
    [InlineData(0xFFFF_FFFF_FFFF_FFFEul, 0xFFFE)]
    [InlineData(0x8000_8000_8000_8000ul, 2)]
    public void Folding_carries_around_until_nothing_is_left(ulong sum, int folded) => Assert.Equal(folded, Checksum.Fold(sum));

    [Fact]
    public void A_chain_may_be_cut_anywhere_and_the_sum_begin_anywhere()
    {
        byte[] bytes = new byte[47];
        new Random(3).NextBytes(bytes);
        fixed (byte* p = bytes)
        {
            for (int first = 0; first <= bytes.Length; first++)
            {
                for (int second = 0; first + second <= bytes.Length; second++)
                {
                    rte_mbuf c = Buffer(p + first + second, bytes.Length - first - second, null);
                    rte_mbuf b = Buffer(p + first, second, &c);
                    rte_mbuf a = Buffer(p, first, &b);
                    for (uint offset = 0; offset <= bytes.Length + 1; offset++)
                    {
                        ushort expected = Naive(bytes.AsSpan((int)Math.Min(offset, (uint)bytes.Length)));
                        ushort sum = BinaryPrimitives.ReverseEndianness(Checksum.Finish(Checksum.AddChain(0, &a, offset)));
                        Assert.True(expected == sum, $"cut at {first} and {first + second}, from {offset}: {sum:x4}, not {expected:x4}");
                    }
                }
            }
        }
    }

    [Fact]
    public void A_chain_adds_to_a_sum_that_was_begun()
    {
        byte[] bytes = [1, 2, 3];
        fixed (byte* p = bytes)
        {
            rte_mbuf only = Buffer(p, 3, null);
            Assert.Equal(Checksum.Fold(Checksum.Add(0x1234, p, 3)), Checksum.Fold(Checksum.AddChain(0x1234, &only, 0)));
        }
    }

    /// <summary>An mbuf over bytes that lie anywhere: the sum reads its data, nothing else of it.</summary>
    private static rte_mbuf Buffer(byte* data, int length, rte_mbuf* next) =>
        new() { buf_addr = data, data_off = 0, data_len = (ushort)length, next = next };

    /// <summary>Reads a checksum and puts zero in its place.</summary>
    private static ushort Take(byte[] packet, int at)
    {
        ushort checksum = BinaryPrimitives.ReadUInt16BigEndian(packet.AsSpan(at));
        packet.AsSpan(at, 2).Clear();
        return checksum;
    }
}
