using Dataplane.Tables;

namespace Dataplane.Memory;

/// <summary>Routes, as part of a commit.</summary>
public sealed unsafe partial class SegmentWriter
{
    private readonly RouteWriter _routes;
    private bool _waysChanged;

    /// <summary>Bytes that the routes take, of <see cref="SegmentHeader.RouteBytes"/>.</summary>
    public long RouteBytesUsed => _routes.UsedBytes;

    /// <summary>A VRF as it is after this commit, except for its routes.</summary>
    public ref readonly VrfRecord Vrf(int index) => ref _segment.Vrf(CheckVrf(index), Current);

    public void SetVrfFlags(int index, VrfFlags flags) => WriteVrf(index, Vrf(index) with { Flags = flags }, Pending);

    /// <summary>The IPv4 routes of a VRF as they are after this commit.</summary>
    public RouteList Routes4(int vrf) => _routes.Prefixes4(CheckVrf(vrf));

    /// <summary>The IPv6 routes of a VRF as they are after this commit.</summary>
    public RouteList Routes6(int vrf) => _routes.Prefixes6(CheckVrf(vrf));

    /// <summary>Makes or changes an IPv4 route.</summary>
    /// <param name="vrf">Index of the VRF.</param>
    /// <param name="prefix">See <see cref="RoutePrefix.Of4"/>.</param>
    /// <param name="nextHop">Index of a next hop.</param>
    /// <exception cref="RouteMemoryException">No room. The commit has to be abandoned.</exception>
    public void SetRoute4(int vrf, RoutePrefix prefix, int nextHop)
    {
        _ = Pending;
        _routes.Set4(CheckVrf(vrf), prefix, (uint)Check(nextHop, 1, _segment.MaxNextHops, "next hop"));
    }

    /// <summary>Makes or changes an IPv6 route.</summary>
    /// <inheritdoc cref="SetRoute4"/>
    public void SetRoute6(int vrf, RoutePrefix prefix, int nextHop)
    {
        _ = Pending;
        _routes.Set6(CheckVrf(vrf), prefix, (uint)Check(nextHop, 1, _segment.MaxNextHops, "next hop"));
    }

    /// <summary>Removes an IPv4 route. False when there is none.</summary>
    /// <exception cref="RouteMemoryException">No room for the copies. The commit has to be abandoned.</exception>
    public bool RemoveRoute4(int vrf, RoutePrefix prefix)
    {
        _ = Pending;
        return _routes.Remove4(CheckVrf(vrf), prefix);
    }

    /// <summary>Removes an IPv6 route. False when there is none.</summary>
    /// <inheritdoc cref="RemoveRoute4"/>
    public bool RemoveRoute6(int vrf, RoutePrefix prefix)
    {
        _ = Pending;
        return _routes.Remove6(CheckVrf(vrf), prefix);
    }

    private int CheckVrf(int index) => Check(index, 1, _segment.MaxVrfs, "VRF");

    private RouteWriter OpenRoutes()
    {
        var roots = new List<(int, uint, uint)>();
        for (int i = 1; i < _segment.MaxVrfs; i++)
        {
            ref readonly VrfRecord vrf = ref _segment.Vrf(i, _segment.Generation);
            roots.Add((i, vrf.Root4, vrf.Root6));
        }
        try
        {
            return new RouteWriter(_segment.RouteArena, _segment.Header.RouteBytes, roots);
        }
        catch (InvalidDataException e)
        {
            throw new SegmentException($"{e.Message}; {Segment.Remedy}");
        }
    }

    private void WriteRoots(ulong next)
    {
        foreach ((int vrf, uint root4, uint root6) in _routes.Touched)
        {
            WriteVrf(vrf, Vrf(vrf) with { Root4 = root4, Root6 = root6 }, next);
        }
        _routes.Commit();
        for (int i = 1; _waysChanged && i < _segment.MaxVrfs; i++)
        {
            VrfRecord vrf = Vrf(i);
            if (vrf.Flags != VrfFlags.None || (vrf.Root4 | vrf.Root6) != 0)
            {
                WriteVrf(i, vrf, next);
            }
        }
        _waysChanged = false;
    }

    /// <summary>Whatever changes in a VRF, the verdicts of its connections are to be found anew.</summary>
    private void WriteVrf(int index, VrfRecord record, ulong next) =>
        Versioned<VrfRecord>.Write(ref _segment.Vrfs[CheckVrf(index)], record with { Verdicts = (uint)next }, next);
}
