using Dataplane.Memory;

namespace Dataplane.Control.Compiler;

public sealed partial class TableWriter
{
    /// <summary>Whether the segment's services are known to be those of desired state.</summary>
    private bool _servicesKnown;

    /// <summary>Whether the flags of VRFs are what services ask for.</summary>
    private bool _trackingKnown;

    /// <summary>Writes services. Within a commit. Gives how many records changed.</summary>
    private int WriteServices(CompiledChange change)
    {
        int changed = change.Services is { } services && _servicesKnown ? _services.Write(services) : _services.WriteAll(change.After.Services, change.After.ServiceAddresses);
        _trackingKnown &= !_services.VrfsChanged;
        _servicesKnown = true;
        return changed;
    }

    /// <summary>Routed packets are looked up in the connection table where something may be found: in VRFs with services or masquerade.</summary>
    private int WriteTracking(CompiledChange change)
    {
        if (_trackingKnown && !change.Records)
        {
            return 0;
        }
        int changed = 0;
        for (int vrf = 1; vrf < _segment.MaxVrfs; vrf++)
        {
            VrfFlags flags = _services.Serves(vrf) || change.After.MasqueradingVrfs.Contains(vrf) ? VrfFlags.Tracks : VrfFlags.None;
            if (_writer.Vrf(vrf).Flags != flags)
            {
                _writer.SetVrfFlags(vrf, flags);
                changed++;
            }
        }
        _trackingKnown = true;
        return changed;
    }
}
