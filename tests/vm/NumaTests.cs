using System.Globalization;
using System.Text.RegularExpressions;

namespace Dataplane.VmTests;

/// <summary>A machine with two NUMA nodes, a processor and half of the memory on each: what workers use lies near them.</summary>
public sealed partial class NumaTests : IAsyncLifetime
{
    private const string Switch = """
        networks:
        - name: blue
          subnets: [10.0.0.0/24]
        ports:
        - name: host
          network: blue
          tap: {host: true, addresses: [10.0.0.1/24]}
        """;

    private Guest _guest = null!;

    public async Task InitializeAsync()
    {
        if (Guest.Files is not null)
        {
            _guest = await Guest.StartAsync(iommu: false, nodes: 2);
        }
    }

    public async Task DisposeAsync()
    {
        if (_guest is not null)
        {
            await _guest.DisposeAsync();
        }
    }

    [VmFact]
    public async Task WorkersOnBothNodesHaveBuffersAndTablesOnBoth()
    {
        await _guest.StartSwitchAsync(Switch, "--workers 2 --cores 0-1");
        long[] buffers = await PagesAsync(" huge "), tables = await PagesAsync("file=/dev/shm/dataplane-default");
        Assert.All(buffers, pages => Assert.True(pages > 0, $"huge pages: {string.Join(", ", buffers)}"));
        // Page by page in turn.
        Assert.InRange(tables[0], tables[1] - 1 - (tables[1] / 10), tables[1] + 1 + (tables[1] / 10));
        Assert.True(tables[0] > 0);
        await _guest.StopSwitchAsync();
    }

    [VmFact]
    public async Task AWorkerOnOneNodeHasItsTablesThere()
    {
        await _guest.StartSwitchAsync(Switch, "--workers 1 --cores 1");
        long[] tables = await PagesAsync("file=/dev/shm/dataplane-default");
        Assert.True(tables[1] > 0 && tables[0] == 0, $"pages of the segment: {string.Join(", ", tables)}");
        await _guest.StopSwitchAsync();
    }

    /// <summary>Pages on each node of the engine's mappings whose line has a text (numa_maps, proc(5)).</summary>
    private async Task<long[]> PagesAsync(string text)
    {
        long[] pages = new long[2];
        string maps = await _guest.RunAsync("cat /proc/$(cat /run/dataplane/default/engine.pid)/numa_maps");
        foreach (string line in maps.Split('\n').Where(line => $"{line.TrimEnd()} ".Contains(text, StringComparison.Ordinal)))
        {
            foreach (Match node in Node().Matches(line))
            {
                pages[int.Parse(node.Groups[1].ValueSpan, CultureInfo.InvariantCulture)] += long.Parse(node.Groups[2].ValueSpan, CultureInfo.InvariantCulture);
            }
        }
        return pages;
    }

    [GeneratedRegex(@" N([01])=(\d+)")]
    private static partial Regex Node();
}
