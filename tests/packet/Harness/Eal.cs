using System.Runtime.CompilerServices;

namespace Dataplane.PacketTests.Harness;

/// <summary>DPDK's environment, started once per test process: no hugepages, no PCI.</summary>
public static class Eal
{
    private static readonly Lazy<bool> Started = new(Start);

    // A test that calls the shim itself may be compiled, and so bound to the library, before it makes its first switch.
    [ModuleInitializer]
    internal static void LoadLibrary() => Interop.Dpdk.DpdkLibrary.Load();

    public static void Require() => Assert.True(Started.Value);

    private static bool Start()
    {
        Interop.Dpdk.Eal.Init(Interop.Dpdk.Eal.LaptopArguments(256, $"packet-tests-{Environment.ProcessId}"));
        return true;
    }
}
