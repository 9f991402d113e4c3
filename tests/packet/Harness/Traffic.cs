using Dataplane.Interop.Dpdk;
using Dataplane.Packets;
using Dataplane.Ports;
using static Dataplane.PacketTests.Harness.Frame;

namespace Dataplane.PacketTests.Harness;

/// <summary>
/// Numbered packets between memory ports of a switch that runs on its threads. Each flow keeps a few packets under way, so none
/// is lost for want of room; a packet that is missing, out of order or double is found.
/// </summary>
public sealed unsafe class Traffic
{
    private const int Window = 128;
    private const int Magic = 0x0050_4654;

    private readonly TestSwitch _sw;
    private readonly Flow[] _flows;
    private readonly MemoryPort[] _sinks;
    private string? _fault;

    private sealed class Flow(MemoryPort from, MemoryPort to, byte[] frame)
    {
        public readonly MemoryPort From = from, To = to;
        public readonly byte[] Frame = frame;
        public int Sent, Received;
    }

    /// <param name="sw">Its ports may change meanwhile, but for those of the flows.</param>
    /// <param name="flows">From which port to which, and whether to the broadcast address. Destinations are made static.</param>
    public Traffic(TestSwitch sw, params (int From, int To, bool Broadcast)[] flows)
    {
        _sw = sw;
        _flows = new Flow[flows.Length];
        for (int i = 0; i < flows.Length; i++)
        {
            (int from, int to, bool broadcast) = flows[i];
            sw.SetStatic(Mac(0x10000 + to), to);
            byte[] frame = Of(broadcast ? Broadcast : Mac(0x10000 + to), Mac(0x20000 + from));
            BitConverter.TryWriteBytes(frame.AsSpan(14), Magic);
            BitConverter.TryWriteBytes(frame.AsSpan(18), i);
            _flows[i] = new Flow(sw[from], sw[to], frame);
        }
        _sinks = [.. flows.SelectMany(f => (int[])[f.From, f.To]).Distinct().Select(port => sw[port])];
    }

    /// <summary>Packets sent so far.</summary>
    public long Sent => _flows.Sum(flow => (long)Volatile.Read(ref flow.Sent));

    /// <summary>Sends until each flow has sent so many packets more and all have arrived.</summary>
    public void Run(int packets)
    {
        int[] goal = [.. _flows.Select(flow => flow.Sent + packets)];
        _sw.Until(() =>
        {
            Step(flow => flow.Sent < goal[Array.IndexOf(_flows, flow)]);
            return _flows.Zip(goal).All(pair => pair.First.Received == pair.Second) || _fault != null;
        }, "all packets of all flows");
        Assert.Null(_fault);
    }

    /// <summary>Sends on a thread of its own until the action is done, and then until all have arrived.</summary>
    public void During(Action action)
    {
        bool stop = false;
        var thread = new Thread(() =>
        {
            while (!Volatile.Read(ref stop) && _fault == null)
            {
                Step(_ => true);
                Thread.Yield();
            }
        });
        thread.Start();
        try
        {
            action();
        }
        finally
        {
            Volatile.Write(ref stop, true);
            thread.Join();
        }
        Run(0);
    }

    private void Step(Func<Flow, bool> mayGo)
    {
        foreach (Flow flow in _flows)
        {
            for (int burst = 0; burst < 16 && flow.Sent - flow.Received < Window && mayGo(flow); burst++)
            {
                BitConverter.TryWriteBytes(flow.Frame.AsSpan(22), flow.Sent);
                rte_mbuf* mbuf = MbufCopy.FromBytes(flow.Frame, _sw.Engine.Small, _sw.Engine.Large);
                if (mbuf == null || !_sw.TryInject(flow.From, mbuf))
                {
                    break;
                }
                Volatile.Write(ref flow.Sent, flow.Sent + 1);
            }
        }
        foreach (MemoryPort sink in _sinks)
        {
            rte_mbuf* mbuf;
            while ((mbuf = _sw.TakeMbuf(sink)) != null)
            {
                Arrived(sink, Mbuf.Segment(mbuf));
                Shim.dps_mbuf_free(mbuf);
            }
        }
    }

    private void Arrived(MemoryPort sink, ReadOnlySpan<byte> frame)
    {
        if (frame.Length < 26 || BitConverter.ToInt32(frame[14..]) != Magic)
        {
            return; // somebody else's
        }
        Flow flow = _flows[BitConverter.ToInt32(frame[18..])];
        if (flow.To != sink)
        {
            return; // a broadcast, of which only one port counts
        }
        int number = BitConverter.ToInt32(frame[22..]);
        if (number != flow.Received)
        {
            _fault ??= $"from {flow.From.Name} to {flow.To.Name}: packet {number} where {flow.Received} was expected";
        }
        flow.Received++;
    }
}
