using Dataplane.Tables;

namespace Dataplane.Control.Compiler;

public sealed partial class TableWriter
{
    /// <summary>Whether the uses of next hops are counted as the segment's routes are.</summary>
    private bool _routesKnown;

    /// <summary>Writes routes, and the next hops they need. Within a commit. Gives how many of both changed.</summary>
    private (int Routes, int NextHops) WriteRoutes(CompiledChange change)
    {
        IReadOnlyDictionary<int, Adjacency> adjacencies = change.After.Adjacencies;
        int before = _nextHops.Made;
        try
        {
            int routes = change.Routes is { } steps && _routesKnown ? WriteSteps(steps, adjacencies) : WriteAllRoutes(change.After, adjacencies);
            int hops = change.Records || !_routesKnown ? _nextHops.Refresh(adjacencies) : 0;
            hops += _nextHops.Sweep() + _nextHops.Made - before;
            _routesKnown = true;
            return (routes, hops);
        }
        catch (RouteMemoryException e)
        {
            throw new TableFullException($"{e.Message}; start the daemon with a larger --route-memory");
        }
    }

    private int WriteSteps(IReadOnlyList<RouteStep> steps, IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        foreach (RouteStep step in steps)
        {
            if (step.After is { } target)
            {
                SetRoute(step.Key, (int)_nextHops.Acquire(target, adjacencies));
            }
            else
            {
                RemoveRoute(step.Key);
            }
            if (step.Before is { } old)
            {
                _nextHops.Release(old);
            }
        }
        return steps.Count;
    }

    /// <summary>Compares all routes with what the segment holds, and counts the uses of next hops anew.</summary>
    private int WriteAllRoutes(CompiledState state, IReadOnlyDictionary<int, Adjacency> adjacencies)
    {
        _nextHops.Forget();
        var wanted = new Dictionary<(int Vrf, bool IsIPv6), HashSet<RoutePrefix>>();
        int changed = 0;
        foreach (CompiledRoute route in state.Routes)
        {
            RouteKey key = route.Key;
            RoutePrefix prefix = Prefix(key);
            uint nextHop = _nextHops.Acquire(route.Target, adjacencies);
            if (!Present(key.Vrf, key.IsIPv6).TryGetValue(prefix, out uint present) || present != nextHop)
            {
                SetRoute(key, (int)nextHop);
                changed++;
            }
            if (!wanted.TryGetValue((key.Vrf, key.IsIPv6), out HashSet<RoutePrefix>? prefixes))
            {
                wanted.Add((key.Vrf, key.IsIPv6), prefixes = []);
            }
            prefixes.Add(prefix);
        }
        for (int vrf = 1; vrf < _segment.MaxVrfs; vrf++)
        {
            changed += RemoveOthers(vrf, isIPv6: false, wanted.GetValueOrDefault((vrf, false))) + RemoveOthers(vrf, isIPv6: true, wanted.GetValueOrDefault((vrf, true)));
        }
        return changed;
    }

    private int RemoveOthers(int vrf, bool isIPv6, HashSet<RoutePrefix>? wanted)
    {
        List<RoutePrefix> gone = [.. Present(vrf, isIPv6).Keys.Where(p => wanted?.Contains(p) != true)];
        foreach (RoutePrefix prefix in gone)
        {
            _ = isIPv6 ? _writer.RemoveRoute6(vrf, prefix) : _writer.RemoveRoute4(vrf, prefix);
        }
        return gone.Count;
    }

    private IReadOnlyDictionary<RoutePrefix, uint> Present(int vrf, bool isIPv6) => isIPv6 ? _writer.Routes6(vrf) : _writer.Routes4(vrf);

    private void SetRoute(RouteKey key, int nextHop)
    {
        if (key.IsIPv6)
        {
            _writer.SetRoute6(key.Vrf, Prefix(key), nextHop);
        }
        else
        {
            _writer.SetRoute4(key.Vrf, Prefix(key), nextHop);
        }
    }

    private void RemoveRoute(RouteKey key)
    {
        _ = key.IsIPv6 ? _writer.RemoveRoute6(key.Vrf, Prefix(key)) : _writer.RemoveRoute4(key.Vrf, Prefix(key));
    }

    private static RoutePrefix Prefix(RouteKey key) =>
        key.IsIPv6 ? RoutePrefix.Of6((ulong)(key.Address >> 64), (ulong)key.Address, key.Length) : RoutePrefix.Of4((uint)key.Address, key.Length);
}
