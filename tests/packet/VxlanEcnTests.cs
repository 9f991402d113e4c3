using Dataplane.PacketTests.Harness;
using Dataplane.Packets;
using static Dataplane.PacketTests.Harness.Overlay;

namespace Dataplane.PacketTests;

/// <summary>RFC 6040, figures 3 and 4, for all pairs of IP versions.</summary>
public sealed class VxlanEcnTests
{
    private const int NotEct = 0, Ect1 = 1, Ect0 = 2, Ce = 3, Drop = -1;

    /// <summary>The inner field that comes out, by the inner one that arrives and the outer one.</summary>
    private static readonly Dictionary<int, Dictionary<int, int>> Figure4 = new()
    {
        [NotEct] = new() { [NotEct] = NotEct, [Ect0] = NotEct, [Ect1] = NotEct, [Ce] = Drop },
        [Ect0] = new() { [NotEct] = Ect0, [Ect0] = Ect0, [Ect1] = Ect1, [Ce] = Ce },
        [Ect1] = new() { [NotEct] = Ect1, [Ect0] = Ect1, [Ect1] = Ect1, [Ce] = Ce },
        [Ce] = new() { [NotEct] = Ce, [Ect0] = Ce, [Ect1] = Ce, [Ce] = Ce },
    };

    public static TheoryData<bool, bool, int> Pairs => new()
    {
        // outer IPv6, inner IPv6, VLAN tags inside
        { false, false, 0 }, { false, true, 0 }, { true, false, 0 }, { true, true, 0 }, { false, false, 1 }, { true, true, 2 },
    };

    [Theory]
    [MemberData(nameof(Pairs))]
    public void TheWayOutCombinesBothFields(bool v6, bool innerV6, int tags)
    {
        foreach ((int inner, Dictionary<int, int> row) in Figure4)
        {
            foreach ((int outer, int expected) in row)
            {
                using TestSwitch sw = Node(v6);
                // Behind one that the switch remembers, and from somebody it does not.
                foreach (int round in (int[])[1, 2])
                {
                    sw.Send(Underlay, From(Packet(innerV6, inner, tags), v6, ecn: outer, checksum: v6));
                    if (expected == Drop)
                    {
                        Assert.Equal($"{Underlay} VxlanCongestion {round}", sw.Drops());
                        continue;
                    }
                    // Nothing else is changed, and the checksum of an IPv4 header is right.
                    Assert.Equal(Packet(innerV6, expected, tags), Assert.Single(sw.Take(1)));
                }
            }
        }
    }

    [Theory]
    [MemberData(nameof(Pairs))]
    public void TheWayInCopiesTheField(bool v6, bool innerV6, int tags)
    {
        using TestSwitch sw = Node(v6);
        for (int ecn = 0; ecn < 4; ecn++)
        {
            byte[] frame = Packet(innerV6, ecn, tags);
            sw.Send(1, frame);
            byte[] came = Assert.Single(sw.Take(Underlay));
            Assert.Equal(Expected(frame, came, v6, ecn: ecn, checksum: v6), came);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void APriorityInsideIsNoneOutside(bool v6)
    {
        using TestSwitch sw = Node(v6);
        byte[] frame = Packet(false, (46 << 2) | Ect0, 0); // expedited forwarding
        sw.Send(1, frame);
        byte[] came = Assert.Single(sw.Take(Underlay));
        Assert.Equal(Expected(frame, came, v6, ecn: Ect0, checksum: v6), came);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void WhatIsNoIPCannotBeMarked(bool v6)
    {
        using TestSwitch sw = Node(v6);
        byte[] frame = Frame.Of(Frame.Broadcast, Frame.C);
        sw.Send(Underlay, From(frame, v6, ecn: Ce, checksum: v6));
        Assert.Equal(frame, Assert.Single(sw.Take(1)));
    }

    private static byte[] Packet(bool v6, int tos, int tags)
    {
        Unfinished packet = Inet.Udp(50, v6: v6);
        byte[] frame = packet.Frame;
        if (v6)
        {
            frame[14] |= (byte)(tos >> 4);
            frame[15] |= (byte)(tos << 4);
        }
        else
        {
            frame[15] = (byte)tos;
            frame.AsSpan(24, 2).Clear();
            System.Buffers.Binary.BinaryPrimitives.WriteUInt16BigEndian(frame.AsSpan(24), Reference.Checksum(frame.AsSpan(14, 20)));
        }
        return Frame.WithTags(Reference.Finish(packet), [.. Enumerable.Range(10, tags)]);
    }
}
