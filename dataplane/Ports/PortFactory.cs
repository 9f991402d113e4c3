using Dataplane.Interop.Dpdk;
using Dataplane.Interop.Linux;
using Dataplane.Workers;

namespace Dataplane.Ports;

/// <summary>From a <see cref="PortSpec"/> to a device that is ready to be attached.</summary>
public static class PortFactory
{
    /// <param name="engine">Whose pools and workers the port will use.</param>
    /// <param name="index">Index of the port in the segment.</param>
    /// <param name="name">Name of the port, for messages.</param>
    /// <param name="spec">The device.</param>
    /// <param name="mtu">Layer-3 MTU in bytes, 0 to leave the device's.</param>
    /// <param name="mac">Address of a TAP's kernel side.</param>
    /// <param name="fds">A TAP's descriptors; owned by the port when this returns, by the caller when it throws.</param>
    /// <exception cref="FormatException">The specification is wrong. Names the port, as all of these do.</exception>
    /// <exception cref="IOException">A file is in the way, or a network device is not there or must not be opened.</exception>
    /// <exception cref="DpdkException">DPDK or its driver refuses the device. Nothing of it is left.</exception>
    public static EnginePort Create(Engine engine, int index, string name, PortSpec spec, int mtu, ulong mac, int[] fds)
    {
        int workers = engine.Workers.Count;
        switch (spec.Kind)
        {
            case PortKind.Tap:
                if (fds.Length != workers)
                {
                    throw new ArgumentException($"port \"{name}\": a TAP needs one descriptor per worker, got {fds.Length} for {workers}", nameof(fds));
                }
                return new TapPort(index, name, fds, engine.Small, engine.Large, mac);
            case PortKind.Netdev:
                NoDescriptors(name, fds);
                try
                {
                    return NetdevPort.Open(index, name, spec.Argument, engine.Small, engine.Large, workers, mtu);
                }
                catch (LinuxException e)
                {
                    throw new IOException($"port \"{name}\": {e.Message}", e);
                }
                catch (FormatException e)
                {
                    throw new FormatException($"port \"{name}\": {e.Message}", e);
                }
            case PortKind.Memory:
                NoDescriptors(name, fds);
                return new MemoryPort(index, name, engine.Small, engine.Large);
            default:
                NoDescriptors(name, fds);
                try
                {
                    string devargs = spec.Kind == PortKind.Pcap ? spec.PcapDevargs(index) : DeviceArguments.Check(spec.Argument);
                    MemifSocket.Clear(devargs);
                    return DpdkPort.Open(index, name, devargs, engine.Pools, workers, mtu);
                }
                catch (DpdkException e)
                {
                    throw new DpdkException($"port \"{name}\"", e);
                }
                catch (FormatException e)
                {
                    throw new FormatException($"port \"{name}\": {e.Message}", e);
                }
                catch (IOException e)
                {
                    throw new IOException($"port \"{name}\": {e.Message}", e);
                }
        }
    }

    private static void NoDescriptors(string name, int[] fds)
    {
        if (fds.Length != 0)
        {
            throw new ArgumentException($"port \"{name}\": only a TAP comes with descriptors", nameof(fds));
        }
    }
}
