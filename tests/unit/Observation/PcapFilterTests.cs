using Dataplane.Observation;
using Dataplane.Control.Observation;

namespace Dataplane.UnitTests.Observation;

/// <summary>libpcap compiles; our machine runs what it makes, with the answers that tcpdump gives.</summary>
public sealed unsafe class PcapFilterTests
{
    private static readonly string[] Packets =
    [
        "02000000000b 02000000000a 0800 4500001c000100004001 0000 ac120002 ac120003 0800f7ff00000000",
        "02000000000b 02000000000a 0800 45000028000100004006 0000 ac120002 ac120003 1f90 0050 00000000 00000000 5002 0000 0000 0000",
        "02000000000b 02000000000a 0800 46000024000100004011 0000 ac120002 ac130003 01010101 0035 1388 0008 0000",
        "ffffffffffff 02000000000a 0806 0001080006040001 02000000000a ac120002 000000000000 ac120003",
        "02000000000b 02000000000a 8100 000a 0800 4500001c000100004001 0000 ac120002 ac120003 0800f7ff00000000",
        "02000000000b 02000000000a 86dd 600000000008 11 40 fd000000000000000000000000000002 fd000000000000000000000000000003 0035 1388 0008 0000",
    ];

    public static TheoryData<string, string> Filters => new()
    {
        // filter                        packets that pass
        { "",                            "0 1 2 3 4 5" },
        { "icmp",                        "0" },
        { "tcp port 80",                 "1" },
        { "tcp[tcpflags] & tcp-syn != 0", "1" },
        { "udp port 53",                 "2 5" },
        { "net 172.19.0.0/16",           "2" },
        { "arp",                         "3" },
        { "broadcast",                   "3" },
        { "vlan 10 and icmp",            "4" },
        { "vlan 11",                     "" },
        { "ip6",                         "5" },
        { "ether src 02:00:00:00:00:0a", "0 1 2 3 4 5" },
        { "host fd00::3",                "5" },
        { "greater 55",                  "5" },
        { "not ip and not vlan",         "3 5" },
    };

    [Theory, MemberData(nameof(Filters))]
    public void A_filter_lets_pass_what_it_should(string filter, string passing)
    {
        BpfInstruction[] program = [.. PcapFilter.Compile(filter)];
        var passed = new List<int>();
        for (int i = 0; i < Packets.Length; i++)
        {
            byte[] packet = Convert.FromHexString(Packets[i].Replace(" ", "", StringComparison.Ordinal));
            fixed (byte* data = packet)
            fixed (BpfInstruction* instructions = program)
            {
                if (program.Length == 0 || BpfFilter.Run(instructions, (uint)program.Length, data, (uint)packet.Length, (uint)packet.Length) != 0)
                {
                    passed.Add(i);
                }
            }
        }
        Assert.Equal(passing, string.Join(' ', passed));
    }

    [Theory]
    [InlineData("tcp porf 3", "syntax error")]
    [InlineData("host 300.1.1.1", "300.1.1.1")]
    [InlineData("(", "syntax error")]
    public void A_filter_that_is_not_understood_is_refused_in_the_words_of_libpcap(string filter, string says)
    {
        FilterException refused = Assert.Throws<FilterException>(() => PcapFilter.Compile(filter));
        Assert.Contains($"\"{filter}\": ", refused.Message, StringComparison.Ordinal);
        Assert.Contains(says, refused.Message, StringComparison.Ordinal);
    }
}
