using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Packets;

namespace Dataplane.Observation;

/// <summary>One instruction of a classic BPF program, as libpcap's compiler makes it (struct bpf_insn).</summary>
[StructLayout(LayoutKind.Sequential)]
public readonly record struct BpfInstruction(ushort Code, byte JumpTrue, byte JumpFalse, uint K);

/// <summary>
/// The classic BSD packet filter machine (McCanne and Jacobson, USENIX 1993): an accumulator, an index register, sixteen words
/// of memory, and loads from the packet whose bounds are checked one by one. A load beyond the packet ends the program with
/// "no". Programs come from libpcap, so that filters are written as for tcpdump; <see cref="Problem"/> admits only those that
/// end: jumps go forward, and the last instruction returns.
/// <para>A packet in several buffers is seen as far as its first buffer goes: headers are there.</para>
/// </summary>
public static unsafe class BpfFilter
{
    /// <summary>Longest program.</summary>
    public const int MaxLength = 1024;

    private const int MemoryWords = 16;

    // Instruction classes, and the fields of a code.
    private const int ClassMask = 0x07, Ld = 0x00, Ldx = 0x01, St = 0x02, Stx = 0x03, Alu = 0x04, Jmp = 0x05, Ret = 0x06, Misc = 0x07;
    private const int SizeMask = 0x18, Word = 0x00, Half = 0x08, OneByte = 0x10;
    private const int ModeMask = 0xE0, Imm = 0x00, Abs = 0x20, Ind = 0x40, Mem = 0x60, Len = 0x80, Msh = 0xA0;
    private const int OperationMask = 0xF0, FromX = 0x08, ReturnA = 0x10, Txa = 0x80;
    private const int Div = 0x30, Lsh = 0x60, Rsh = 0x70, Neg = 0x80, Mod = 0x90, Xor = 0xA0;
    private const int Ja = 0x00, Jset = 0x40;

    /// <summary>What is wrong with a program, or null when it may run.</summary>
    public static string? Problem(ReadOnlySpan<BpfInstruction> program)
    {
        if (program.Length is 0 or > MaxLength)
        {
            return $"it has {program.Length} instructions, must have 1 to {MaxLength}";
        }
        for (int i = 0; i < program.Length; i++)
        {
            BpfInstruction at = program[i];
            if (!IsKnown(at.Code))
            {
                return $"instruction {i} has the unknown code 0x{at.Code:x}";
            }
            int operation = at.Code & OperationMask;
            bool constant = (at.Code & FromX) == 0;
            bool sound = (at.Code & ClassMask) switch
            {
                Ld or Ldx when (at.Code & ModeMask) == Mem => at.K < MemoryWords,
                St or Stx => at.K < MemoryWords,
                Alu when operation is Div or Mod && constant => at.K != 0,
                Alu when operation is Lsh or Rsh && constant => at.K < 32,
                Jmp when operation == Ja => at.K < (uint)(program.Length - i - 1),
                Jmp => i + 1 + Math.Max(at.JumpTrue, at.JumpFalse) < program.Length,
                _ => true,
            };
            if (!sound)
            {
                return $"instruction {i} goes beyond the program or its memory, or divides by zero";
            }
        }
        return (program[^1].Code & ClassMask) == Ret ? null : "it does not end with a return";
    }

    /// <summary>Whether a packet passes. An empty program passes all.</summary>
    /// <param name="program">One without a <see cref="Problem"/>.</param>
    /// <param name="length">Number of instructions.</param>
    /// <param name="mbuf">The packet.</param>
    public static bool Passes(BpfInstruction* program, uint length, rte_mbuf* mbuf) =>
        length == 0 || Run(program, length, Mbuf.Data(mbuf), mbuf->data_len, mbuf->pkt_len) != 0;

    /// <summary>Runs a program over the bytes that are there of a packet. Gives what it returns.</summary>
    public static uint Run(BpfInstruction* program, uint length, byte* data, uint present, uint packetLength)
    {
        uint a = 0, x = 0;
        uint* memory = stackalloc uint[MemoryWords];
        Unsafe.InitBlock(memory, 0, MemoryWords * sizeof(uint));
        for (uint pc = 0; pc < length; pc++)
        {
            ref readonly BpfInstruction at = ref program[pc];
            uint k = at.K;
            switch (at.Code & ClassMask)
            {
                case Ld:
                    if (!TryLoad(at.Code, k, x, data, present, packetLength, memory, ref a))
                    {
                        return 0;
                    }
                    break;
                case Ldx when (at.Code & ModeMask) == Msh:
                    if (k >= present)
                    {
                        return 0;
                    }
                    x = (uint)(data[k] & 0xF) << 2;
                    break;
                case Ldx:
                    x = (at.Code & ModeMask) switch { Imm => k, Mem => memory[k % MemoryWords], _ => packetLength };
                    break;
                case St:
                    memory[k % MemoryWords] = a;
                    break;
                case Stx:
                    memory[k % MemoryWords] = x;
                    break;
                case Alu:
                    uint operand = (at.Code & FromX) != 0 ? x : k;
                    if ((at.Code & OperationMask) is Div or Mod && operand == 0)
                    {
                        return 0;
                    }
                    a = Calculate(at.Code & OperationMask, a, operand);
                    break;
                case Jmp:
                    pc += (at.Code & OperationMask) == Ja ? k : Holds(at.Code & OperationMask, a, (at.Code & FromX) != 0 ? x : k) ? at.JumpTrue : at.JumpFalse;
                    break;
                case Ret:
                    return (at.Code & 0x18) == ReturnA ? a : k;
                default:
                    (a, x) = (at.Code & Txa) != 0 ? (x, x) : (a, a);
                    break;
            }
        }
        return 0;
    }

    private static bool TryLoad(int code, uint k, uint x, byte* data, uint present, uint packetLength, uint* memory, ref uint a)
    {
        switch (code & ModeMask)
        {
            case Imm:
                a = k;
                return true;
            case Mem:
                a = memory[k % MemoryWords];
                return true;
            case Len:
                a = packetLength;
                return true;
        }
        ulong offset = (ulong)k + ((code & ModeMask) == Ind ? x : 0);
        uint size = (code & SizeMask) switch { Word => 4u, Half => 2u, _ => 1u };
        if (offset + size > present)
        {
            return false;
        }
        byte* at = data + offset;
        a = size switch { 4 => Wire.Load32(at), 2 => Wire.Load16(at), _ => *at };
        return true;
    }

    private static uint Calculate(int operation, uint a, uint operand) => operation switch
    {
        0x00 => a + operand,
        0x10 => a - operand,
        0x20 => a * operand,
        Div => a / operand,
        0x40 => a | operand,
        0x50 => a & operand,
        Lsh => operand < 32 ? a << (int)operand : 0,
        Rsh => operand < 32 ? a >> (int)operand : 0,
        Neg => 0 - a,
        Mod => a % operand,
        _ => a ^ operand,
    };

    private static bool Holds(int operation, uint a, uint operand) => operation switch
    {
        0x10 => a == operand,
        0x20 => a > operand,
        0x30 => a >= operand,
        _ => (a & operand) != 0,
    };

    private static bool IsKnown(int code)
    {
        int size = code & SizeMask, mode = code & ModeMask, operation = code & OperationMask;
        return (code & ~0xFF) == 0 && (code & ClassMask) switch
        {
            Ld => mode is Abs or Ind ? size is Word or Half or OneByte : mode is Imm or Mem or Len && size == Word,
            Ldx => mode == Msh ? size == OneByte : mode is Imm or Mem or Len && size == Word,
            St or Stx => (code & ~ClassMask) == 0,
            Alu => operation <= Xor,
            Jmp => operation <= Jset && (operation != Ja || (code & FromX) == 0),
            Ret => (code & ~ClassMask) is 0 or ReturnA,
            Misc => (code & ~ClassMask) is 0 or Txa,
            _ => false,
        };
    }
}
