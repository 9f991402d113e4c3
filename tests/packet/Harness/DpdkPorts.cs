using System.Runtime.InteropServices;
using Dataplane.Interop.Dpdk;
using Dataplane.Ports;

namespace Dataplane.PacketTests.Harness;

/// <summary>Ports over DPDK's own drivers, made as the engine makes them, and what DPDK holds of a process.</summary>
public static unsafe class DpdkPorts
{
    private static int s_serial;

    /// <summary>A name of a device that no other test has.</summary>
    public static string Unique(string driver) => $"{driver}{1000 + Interlocked.Increment(ref s_serial)}";

    /// <summary>Makes a port from its text, attaches it and adds it to the bridge.</summary>
    public static TestSwitch Device(this TestSwitch sw, int index, string spec) => sw.Attach(Make(sw, index, spec));

    /// <summary>Makes a port from its text and leaves it to the caller.</summary>
    public static EnginePort Make(TestSwitch sw, int index, string spec) =>
        PortFactory.Create(sw.Engine, index, $"p{index}", PortSpec.Parse(spec), mtu: 0, mac: 0, fds: []);

    /// <summary>A device of the test itself, at the other end of a port's.</summary>
    public static EthDevice Peer(TestSwitch sw, string devargs)
    {
        EthDevice peer = EthDevice.Attach(devargs);
        peer.Configure(new EthDeviceConfiguration { Promiscuous = true }, sw.Engine.Small);
        peer.Start();
        return peer;
    }

    /// <summary>Sends a frame by a device of the test. False when it takes none now.</summary>
    public static bool Send(this EthDevice peer, TestSwitch sw, ReadOnlySpan<byte> frame)
    {
        rte_mbuf* mbuf = Packets.MbufCopy.FromBytes(frame, sw.Engine.Small, sw.Engine.Large);
        Assert.True(mbuf != null, "no buffer is left");
        if (peer.Transmit(0, &mbuf, 1) == 1)
        {
            return true;
        }
        Shim.dps_mbuf_free(mbuf);
        return false;
    }

    /// <summary>What came to a device of the test since the last call.</summary>
    public static List<byte[]> Take(this EthDevice peer)
    {
        var frames = new List<byte[]>();
        rte_mbuf** burst = stackalloc rte_mbuf*[32];
        int n;
        while ((n = peer.Receive(0, burst, 32)) != 0)
        {
            for (int i = 0; i < n; i++)
            {
                frames.Add(Packets.MbufCopy.ToBytes(burst[i]));
                Shim.dps_mbuf_free(burst[i]);
            }
        }
        return frames;
    }

    /// <summary>What this process holds of DPDK and of the kernel: equal before and after what leaves nothing behind.</summary>
    /// <param name="Allocations">Pieces of DPDK's memory in use.</param>
    /// <param name="FirstFreePort">The number that DPDK gives to the next Ethernet device.</param>
    /// <param name="Descriptors">Open file descriptors.</param>
    public readonly record struct Holdings(uint Allocations, int FirstFreePort, int Descriptors)
    {
        public static Holdings Now()
        {
            int port;
            using (EthDevice device = EthDevice.Attach(Unique("net_null")))
            {
                port = device.PortId;
            }
            MallocStats stats;
            Assert.Equal(0, s_stats(0, &stats));
            // What tests before left to the finalizer must not go in between.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            return new Holdings(stats.AllocCount, port, Directory.GetFileSystemEntries("/proc/self/fd").Length);
        }
    }

    /// <summary>The ring behind a queue of a net_ring device: what is sent into it, is received from it.</summary>
    public static rte_ring* RingOf(string device, int queue = 0)
    {
        fixed (byte* name = System.Text.Encoding.ASCII.GetBytes($"ETH_RXTX{queue}_{device}\0"))
        {
            var lookup = (delegate* unmanaged<byte*, rte_ring*>)Find("librte_ring.so", "rte_ring_lookup");
            rte_ring* ring = lookup(name);
            Assert.True(ring != null, $"no ring of {device}");
            return ring;
        }
    }

    /// <summary>struct rte_malloc_socket_stats.</summary>
    private struct MallocStats
    {
        public nuint Total, Free, Greatest;
        public uint FreeCount, AllocCount;
        public nuint Allocated;
    }

    private static readonly delegate* unmanaged<int, MallocStats*, int> s_stats =
        (delegate* unmanaged<int, MallocStats*, int>)Find("librte_eal.so", "rte_malloc_get_socket_stats");

    /// <summary>A function that the shim does not offer, as the switch has no use for it. Its library is in the process already.</summary>
    private static nint Find(string library, string function)
    {
        Eal.Require();
        string line = File.ReadLines("/proc/self/maps").First(line => line.Contains('/' + library, StringComparison.Ordinal));
        return NativeLibrary.GetExport(NativeLibrary.Load(line[line.IndexOf('/', StringComparison.Ordinal)..]), function);
    }
}
