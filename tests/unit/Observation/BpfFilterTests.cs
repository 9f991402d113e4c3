using Dataplane.Observation;

namespace Dataplane.UnitTests.Observation;

/// <summary>The filter machine: every instruction by what it returns, and the programs that may not run.</summary>
public sealed unsafe class BpfFilterTests
{
    private static readonly byte[] Packet = [0x45, 0x01, 0x02, 0x03, 0x84, 0x85, 0x86, 0x87, 0xFF];

    public static TheoryData<string, string, uint> Programs => new()
    {
        // what it does                    instructions: code jt jf k                                        result
        { "ret #k",                         "06 0 0 7",                                                       7 },
        { "ret a",                          "00 0 0 9; 16 0 0 0",                                             9 },
        { "ld [0]",                         "20 0 0 0; 16 0 0 0",                                             0x45010203 },
        { "ld [5]: the last that fits",     "20 0 0 5; 16 0 0 0",                                             0x858687FF },
        { "ld [6]: beyond the end",         "20 0 0 6; 06 0 0 1",                                             0 },
        { "ld [-1]",                        "20 0 0 4294967295; 06 0 0 1",                                    0 },
        { "ldh [4]",                        "28 0 0 4; 16 0 0 0",                                             0x8485 },
        { "ldh [8]: half beyond",           "28 0 0 8; 06 0 0 1",                                             0 },
        { "ldb [8]",                        "30 0 0 8; 16 0 0 0",                                             0xFF },
        { "ldb [9]",                        "30 0 0 9; 06 0 0 1",                                             0 },
        { "ldx #2; ldh [x + 2]",            "01 0 0 2; 48 0 0 2; 16 0 0 0",                                   0x8485 },
        { "ldx #-1; ldb [x + 2]: wraps",    "01 0 0 4294967295; 50 0 0 2; 06 0 0 1",                          0 },
        { "ld #pktlen",                     "80 0 0 0; 16 0 0 0",                                             1000 },
        { "ldx #pktlen; txa",               "81 0 0 0; 87 0 0 0; 16 0 0 0",                                   1000 },
        { "ldx 4*([0]&0xf); txa",           "b1 0 0 0; 87 0 0 0; 16 0 0 0",                                   20 },
        { "ldx 4*([9]&0xf): beyond",        "b1 0 0 9; 06 0 0 1",                                             0 },
        { "st M[15]; ld M[15]",             "00 0 0 5; 02 0 0 15; 00 0 0 1; 60 0 0 15; 16 0 0 0",             5 },
        { "stx M[1]; ldx M[1]",             "01 0 0 6; 03 0 0 1; 01 0 0 0; 61 0 0 1; 87 0 0 0; 16 0 0 0",     6 },
        { "memory is clear",                "60 0 0 3; 16 0 0 0",                                             0 },
        { "tax; txa",                       "00 0 0 8; 07 0 0 0; 00 0 0 1; 87 0 0 0; 16 0 0 0",               8 },
        { "add #k",                         "00 0 0 4294967295; 04 0 0 3; 16 0 0 0",                          2 },
        { "sub x",                          "01 0 0 2; 00 0 0 5; 1c 0 0 0; 16 0 0 0",                         3 },
        { "mul",                            "00 0 0 5; 24 0 0 3; 16 0 0 0",                                   15 },
        { "div",                            "00 0 0 17; 34 0 0 5; 16 0 0 0",                                  3 },
        { "mod",                            "00 0 0 17; 94 0 0 5; 16 0 0 0",                                  2 },
        { "div x, x = 0",                   "00 0 0 17; 3c 0 0 0; 06 0 0 1",                                  0 },
        { "mod x, x = 0",                   "00 0 0 17; 9c 0 0 0; 06 0 0 1",                                  0 },
        { "or",                             "00 0 0 12; 44 0 0 3; 16 0 0 0",                                  15 },
        { "and",                            "00 0 0 12; 54 0 0 6; 16 0 0 0",                                  4 },
        { "xor",                            "00 0 0 12; a4 0 0 6; 16 0 0 0",                                  10 },
        { "lsh",                            "00 0 0 3; 64 0 0 4; 16 0 0 0",                                   48 },
        { "rsh",                            "00 0 0 48; 74 0 0 4; 16 0 0 0",                                  3 },
        { "lsh x, x = 32",                  "01 0 0 32; 00 0 0 3; 6c 0 0 0; 16 0 0 0",                        0 },
        { "neg",                            "00 0 0 1; 84 0 0 0; 16 0 0 0",                                   4294967295 },
        { "ja",                             "05 0 0 1; 06 0 0 1; 06 0 0 2",                                   2 },
        { "jeq taken",                      "00 0 0 4; 15 1 0 4; 06 0 0 1; 06 0 0 2",                         2 },
        { "jeq not taken",                  "00 0 0 4; 15 1 0 5; 06 0 0 1; 06 0 0 2",                         1 },
        { "jgt",                            "00 0 0 4; 25 1 0 4; 06 0 0 1; 06 0 0 2",                         1 },
        { "jge",                            "00 0 0 4; 35 1 0 4; 06 0 0 1; 06 0 0 2",                         2 },
        { "jset",                           "00 0 0 6; 45 1 0 2; 06 0 0 1; 06 0 0 2",                         2 },
        { "jeq x",                          "01 0 0 4; 00 0 0 4; 1d 1 0 0; 06 0 0 1; 06 0 0 2",               2 },
        { "jgt is unsigned",                "00 0 0 4294967295; 25 1 0 4; 06 0 0 1; 06 0 0 2",                2 },
    };

    [Theory, MemberData(nameof(Programs))]
    public void A_program_returns_what_it_should(string description, string text, uint result)
    {
        BpfInstruction[] program = Parse(text);
        Assert.True(BpfFilter.Problem(program) is null, description);
        fixed (BpfInstruction* instructions = program)
        fixed (byte* data = Packet)
        {
            Assert.Equal(result, BpfFilter.Run(instructions, (uint)program.Length, data, (uint)Packet.Length, packetLength: 1000));
        }
    }

    [Theory]
    [InlineData("no instruction", "")]
    [InlineData("no return at the end", "00 0 0 1")]
    [InlineData("a jump beyond the end", "15 1 0 4; 06 0 0 1")]
    [InlineData("a jump that is not taken beyond the end", "15 0 200 4; 06 0 0 1; 06 0 0 1")]
    [InlineData("ja beyond the end", "05 0 0 1; 06 0 0 1")]
    [InlineData("ja backwards", "00 0 0 0; 05 0 0 4294967294; 06 0 0 1")]
    [InlineData("memory word 16", "60 0 0 16; 06 0 0 1")]
    [InlineData("store into memory word 16", "02 0 0 16; 06 0 0 1")]
    [InlineData("division by the constant 0", "34 0 0 0; 06 0 0 1")]
    [InlineData("a shift by 32", "64 0 0 32; 06 0 0 1")]
    [InlineData("a code that is none", "18 0 0 0; 06 0 0 1")]
    [InlineData("a code above a byte", "106 0 0 0; 06 0 0 1")]
    [InlineData("an extended jump", "55 0 0 0; 06 0 0 1")]
    public void A_program_that_is_not_sound_may_not_run(string description, string text) =>
        Assert.True(BpfFilter.Problem(Parse(text)) is not null, description);

    [Fact]
    public void A_program_may_not_be_too_long()
    {
        BpfInstruction[] program = [.. Enumerable.Repeat(new BpfInstruction(0x06, 0, 0, 0), BpfFilter.MaxLength + 1)];
        Assert.NotNull(BpfFilter.Problem(program));
        Assert.Null(BpfFilter.Problem(program.AsSpan(1)));
    }

    [Fact]
    public void Whatever_is_admitted_ends_and_stays_inside()
    {
        var random = new Random(7);
        int admitted = 0;
        int[] codes = [0x20, 0x28, 0x30, 0x48, 0x50, 0xb1, 0x00, 0x01, 0x02, 0x03, 0x60, 0x61, 0x04, 0x1c, 0x34, 0x3c, 0x64, 0x6c, 0x05, 0x15, 0x25, 0x35, 0x45, 0x1d, 0x06, 0x16, 0x07, 0x87];
        for (int i = 0; i < 400_000; i++)
        {
            BpfInstruction[] program = [.. Enumerable.Range(0, random.Next(1, 12)).Select(_ => new BpfInstruction(
                (ushort)codes[random.Next(codes.Length)], (byte)random.Next(4), (byte)random.Next(4), random.Next(4) == 0 ? (uint)random.NextInt64() : (uint)random.Next(12)))];
            if (BpfFilter.Problem(program) is not null)
            {
                continue;
            }
            admitted++;
            fixed (BpfInstruction* instructions = program)
            fixed (byte* data = Packet)
            {
                BpfFilter.Run(instructions, (uint)program.Length, data, (uint)random.Next(Packet.Length + 1), 9);
            }
        }
        Assert.True(admitted > 10_000, $"only {admitted} programs ran");
    }

    private static BpfInstruction[] Parse(string text) =>
        [.. text.Split(';', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(line =>
        {
            string[] words = line.Split(' ');
            return new BpfInstruction(Convert.ToUInt16(words[0], 16), byte.Parse(words[1]), byte.Parse(words[2]), uint.Parse(words[3]));
        })];
}
