using Dataplane.Interop.Linux;
using Dataplane.Tables;

namespace Dataplane.MicroBench;

/// <summary>A table of random routes, the same ones in every run, in memory as a segment has it.</summary>
internal sealed unsafe class RouteSet : IDisposable
{
    private const int Vrf = 1;
    private const int Bytes = 256 << 20;

    private readonly SharedMemory _memory = SharedMemory.CreatePrivate(Bytes);
    private readonly bool _is4;

    public RouteSet(string kind, int count, bool is4)
    {
        _is4 = is4;
        Writer = new RouteWriter(_memory.Pointer, Bytes, []);
        var random = new Random(1);
        Prefixes = [.. Enumerable.Range(0, count).Select(_ => Make(kind, random))];
        for (int i = 0; i < count; i++)
        {
            Set(Prefixes[i], (uint)(1 + (i % 1000)));
        }
        Commit();
    }

    public RoutePrefix[] Prefixes { get; }
    public RouteWriter Writer { get; }
    public RouteTable Table => new(_memory.Pointer);
    public uint Root { get; private set; }

    /// <summary>Routes; a prefix may have been drawn twice.</summary>
    public int Count => (_is4 ? Writer.Prefixes4(Vrf) : Writer.Prefixes6(Vrf)).Count;

    public void Set(RoutePrefix prefix, uint nextHop)
    {
        if (_is4)
        {
            Writer.Set4(Vrf, prefix, nextHop);
        }
        else
        {
            Writer.Set6(Vrf, prefix, nextHop);
        }
    }

    /// <summary>Commits; there are no readers to wait for.</summary>
    public void Commit()
    {
        foreach ((int _, uint root4, uint root6) in Writer.Touched)
        {
            Root = _is4 ? root4 : root6;
        }
        Writer.Commit();
        Writer.Reclaim();
    }

    public void Dispose() => _memory.Dispose();

    private static RoutePrefix Make(string kind, Random random)
    {
        uint four = (uint)random.NextInt64(1L << 32);
        ulong six = (0x2000ul << 48) | ((ulong)random.NextInt64() >> 2); // 2000::/3, global unicast
        return kind switch
        {
            "default" => default,
            "/24" => RoutePrefix.Of4(four, 24),
            "/32" => RoutePrefix.Of4(four, 32),
            "/32 of 10/8" => RoutePrefix.Of4((10u << 24) | (four >> 8), 32),
            "/64" => RoutePrefix.Of6(six, 0, 64),
            "/128" => RoutePrefix.Of6(six, (ulong)random.NextInt64(), 128),
            _ => throw new ArgumentOutOfRangeException(nameof(kind), kind, "unknown kind of routes"),
        };
    }
}
