using System.Buffers.Binary;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.UnitTests.Packets;

/// <summary>The checksum of SCTP, against published sums and by both ways of computing it.</summary>
public sealed unsafe class Crc32CTests
{
    public static TheoryData<string, uint> Known => new()
    {
        { Convert.ToHexString("123456789"u8), 0xE306_9283 }, // the check value of the CRC's parameters
        // RFC 3720, B.4; the last one is an iSCSI read command.
        { new string('0', 64), 0x8A91_36AA },
        { new string('F', 64), 0x62A8_AB43 },
        { "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f", 0x46DD_794E },
        { "1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100", 0x113F_DB5C },
        { "01c0000000000000000000000000000014000000000004000000001400000018280000000000000002000000" + "00000000", 0xD996_3A56 },
    };

    [Theory]
    [MemberData(nameof(Known))]
    public void Known_sums(string hex, uint sum)
    {
        byte[] data = Convert.FromHexString(hex);
        fixed (byte* p = data)
        {
            Assert.Equal(sum, Crc32C.Of(p, data.Length));
        }
    }

    [Fact]
    public void Both_ways_agree_whatever_the_length()
    {
        var random = new Random(1);
        byte[] data = new byte[300];
        for (int length = 0; length < data.Length; length++)
        {
            random.NextBytes(data);
            fixed (byte* p = data)
            {
                Assert.Equal(Crc32C.AddByTable(uint.MaxValue, p, length), Crc32C.Add(uint.MaxValue, p, length));
            }
        }
    }

    [Fact]
    public void A_changed_word_changes_it_by_the_difference()
    {
        var random = new Random(2);
        byte[] data = new byte[300];
        for (int length = 4; length < data.Length; length++)
        {
            random.NextBytes(data);
            uint bits = (uint)random.NextInt64(1L << 32);
            int at = random.Next(length - 3);
            fixed (byte* p = data)
            {
                uint before = Crc32C.Of(p, length);
                *(uint*)(p + at) ^= bits;
                Assert.Equal(Crc32C.Of(p, length), before ^ Crc32C.Difference(bits, length - at - 4));
            }
        }
    }

    [Theory]
    [InlineData(200, int.MaxValue)]
    [InlineData(200, 46)] // the header alone in the first buffer
    [InlineData(201, 57)]
    [InlineData(46, int.MaxValue)]
    public void A_packet_gets_its_sum_whatever_buffers_it_is_in(int length, int first)
    {
        const int Sctp = 34;
        byte[] frame = new byte[length];
        new Random(length).NextBytes(frame);
        first = Math.Min(first, length);
        byte[] before = [.. frame];
        fixed (byte* p = frame)
        {
            rte_mbuf second = Buffer(p + first, length - first, null), packet = Buffer(p, first, first < length ? &second : null);
            Assert.True(Crc32C.TryWrite(&packet, Sctp));
            uint sum = BinaryPrimitives.ReadUInt32LittleEndian(frame.AsSpan(Sctp + 8));
            frame.AsSpan(Sctp + 8, 4).Clear();
            before.AsSpan(Sctp + 8, 4).Clear();
            Assert.Equal(before, frame);
            Assert.Equal(~Crc32C.AddByTable(uint.MaxValue, p + Sctp, length - Sctp), sum);
        }
    }

    [Fact]
    public void A_header_in_two_buffers_is_left_alone()
    {
        byte[] frame = new byte[100];
        fixed (byte* p = frame)
        {
            rte_mbuf second = Buffer(p + 45, 55, null), packet = Buffer(p, 45, &second);
            Assert.False(Crc32C.TryWrite(&packet, 34));
        }
        Assert.Equal(new byte[100], frame);
    }

    /// <summary>An mbuf over bytes that lie anywhere.</summary>
    private static rte_mbuf Buffer(byte* data, int length, rte_mbuf* next) =>
        new() { buf_addr = data, data_off = 0, data_len = (ushort)length, next = next };
}
