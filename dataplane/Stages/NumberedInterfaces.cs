using System.Runtime.InteropServices;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Workers;

namespace Dataplane.Stages;

/// <summary>
/// By which interface one speaks that has no address of its own, or none that is known where the listener is (RFC 1812, 2.2.7): the
/// first of its VRF that has one. A worker looks for it when it is asked, once per VRF and generation.
/// </summary>
public sealed unsafe class NumberedInterfaces(int vrfs) : IDisposable
{
    private struct Found
    {
        public ulong Generation;
        public ushort Port4;
        public ushort Port6;
    }

    private readonly Found* _found = (Found*)NativeMemory.AllocZeroed((nuint)vrfs, (nuint)sizeof(Found));

    /// <summary>The first interface of a VRF with an IPv4 address; 0 when there is none.</summary>
    public int First4(Worker w, int vrf) => Find(w, vrf).Port4;

    /// <summary>The first interface of a VRF with an IPv6 address that is not link-local; 0 when there is none.</summary>
    public int First6(Worker w, int vrf) => Find(w, vrf).Port6;

    public void Dispose() => NativeMemory.Free(_found);

    private Found Find(Worker w, int vrf)
    {
        Found* found = _found + vrf;
        if (found->Generation != w.Generation)
        {
            *found = Search(w, vrf);
        }
        return *found;
    }

    private static Found Search(Worker w, int vrf)
    {
        var found = new Found { Generation = w.Generation };
        for (int port = w.Segment.MaxPorts - 1; port > 0; port--)
        {
            ref readonly InterfaceRecord itf = ref w.Interface(port);
            if (!itf.Has(InterfaceFlags.Exists) || itf.Vrf != vrf)
            {
                continue;
            }
            found.Port4 = itf.Count4 != 0 ? (ushort)port : found.Port4;
            for (int i = 0; i < itf.Count6; i++)
            {
                found.Port6 = IPAddresses.IsLinkLocal6(itf.Addresses6[i].Address.High) ? found.Port6 : (ushort)port;
            }
        }
        return found;
    }
}
