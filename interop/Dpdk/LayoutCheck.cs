using System.Runtime.InteropServices;

namespace Dataplane.Interop.Dpdk;

/// <summary>
/// One struct (empty field), one field of a struct, or one compiled-in constant (empty field, the value in
/// <paramref name="Size"/>). Offsets and sizes in bytes.
/// </summary>
public readonly record struct LayoutEntry(string Type, string Field, uint Offset, uint Size)
{
    internal string Name => Field.Length == 0 ? Type : $"{Type}.{Field}";
}

/// <summary>
/// Compares what this program believes of DPDK's structs with what the C compiler made of them on this machine. A DPDK
/// of another release, or built with other options, would otherwise corrupt packets silently. Uses no reflection, so
/// that it says the same in a program built ahead of time.
/// </summary>
public static unsafe class LayoutCheck
{
    /// <summary>Every function that the bindings call.</summary>
    internal static readonly string[] Functions =
    [
        "dps_abi_version", "dps_dpdk_version", "dps_layout",
        "dps_eal_init", "dps_eal_cleanup", "dps_strerror", "dps_thread_register", "dps_thread_unregister", "dps_lcore_id",
        "dps_rdtsc", "dps_tsc_hz",
        "dps_pool_create", "dps_pool_free", "dps_pool_available", "dps_pool_size",
        "dps_mbuf_alloc_bulk", "dps_mbuf_alloc", "dps_mbuf_free", "dps_mbuf_free_bulk", "dps_mbuf_ref", "dps_mbuf_refcnt",
        "dps_mbuf_copy", "dps_mbuf_private", "dps_mbuf_check",
        "dps_ring_create", "dps_ring_lookup", "dps_ring_free", "dps_ring_enqueue_burst", "dps_ring_dequeue_burst", "dps_ring_count",
        "dps_eth_attach", "dps_eth_get_info", "dps_eth_configure", "dps_eth_start", "dps_eth_stop", "dps_eth_detach",
        "dps_eth_get_link", "dps_eth_get_stats", "dps_eth_get_mac", "dps_eth_set_mac", "dps_eth_from_rings",
        "dps_eth_rx_intr_fd", "dps_eth_rx_intr_enable", "dps_eth_rx_intr_disable", "dps_eth_rx_burst", "dps_eth_tx_burst",
    ];

    /// <summary>Every difference between this program and the loaded shim, one line each; empty when they agree.</summary>
    /// <exception cref="DpdkUnavailableException">There is no shim to compare with.</exception>
    public static IReadOnlyList<string> Run()
    {
        var missing = MissingFunctions(DpdkLibrary.Handle, Functions);
        // Without the functions that tell version and layout it is no shim, or one too old to say more.
        foreach (var name in (string[])["dps_abi_version", "dps_layout"])
        {
            if (missing.Contains(name)) return [$"function {name} is missing"];
        }
        var mismatches = new List<string>();
        var version = Shim.dps_abi_version();
        if (version != Shim.DPS_ABI_VERSION)
            mismatches.Add($"interface version is {version}, expected {Shim.DPS_ABI_VERSION}");
        mismatches.AddRange(missing.Select(name => $"function {name} is missing"));
        mismatches.AddRange(Compare(Managed(), Native()));
        return mismatches;
    }

    /// <summary>Throws when <see cref="Run"/> finds anything.</summary>
    /// <exception cref="DpdkUnavailableException">With every difference, and what to do about it.</exception>
    public static void Require()
    {
        var mismatches = Run();
        if (mismatches.Count > 0)
        {
            throw new DpdkUnavailableException(
                $"libdpshim.so does not fit this program: {string.Join("; ", mismatches)}. " +
                "Rebuild both against the installed DPDK with: ./build.sh build");
        }
    }

    /// <summary>The differences between two layouts: what is expected and not found, or found elsewhere.</summary>
    public static IReadOnlyList<string> Compare(IReadOnlyCollection<LayoutEntry> expected, IReadOnlyCollection<LayoutEntry> actual)
    {
        var found = new Dictionary<string, LayoutEntry>(actual.Count);
        foreach (var entry in actual) found[entry.Name] = entry;
        var mismatches = new List<string>();
        foreach (var entry in expected)
        {
            if (!found.Remove(entry.Name, out var other))
                mismatches.Add($"{entry.Name} is missing");
            else if (other != entry)
                mismatches.Add($"{entry.Name} is {other.Size} at {other.Offset}, expected {entry.Size} at {entry.Offset}");
        }
        // A field that only C knows would be silently left out of every structure passed to it.
        foreach (var name in found.Keys) mismatches.Add($"{name} is unknown here");
        return mismatches;
    }

    internal static IReadOnlyList<string> MissingFunctions(nint library, IEnumerable<string> names) =>
        [.. names.Where(name => !NativeLibrary.TryGetExport(library, name, out _))];

    /// <summary>The layout in C, as the shim reports it.</summary>
    internal static LayoutEntry[] Native()
    {
        dps_layout_entry* entries;
        var layout = new LayoutEntry[Shim.dps_layout(&entries)];
        for (var i = 0; i < layout.Length; i++)
        {
            ref readonly var entry = ref entries[i];
            layout[i] = new LayoutEntry(NativeText.From(entry.type), NativeText.From(entry.field), entry.offset, entry.size);
        }
        return layout;
    }

    /// <summary>The layout here. Pointers count as <c>nint</c>, because they cannot be type arguments.</summary>
    internal static List<LayoutEntry> Managed()
    {
        var layout = new List<LayoutEntry> { new("RTE_PKTMBUF_HEADROOM", "", 0, Rte.RTE_PKTMBUF_HEADROOM) };

        rte_mbuf mbuf;
        new StructLayout(layout, "rte_mbuf", &mbuf, sizeof(rte_mbuf))
            .Field("buf_addr", (nint*)&mbuf.buf_addr)
            .Field("buf_iova", &mbuf.buf_iova)
            .Field("data_off", &mbuf.data_off)
            .Field("refcnt", &mbuf.refcnt)
            .Field("nb_segs", &mbuf.nb_segs)
            .Field("port", &mbuf.port)
            .Field("ol_flags", &mbuf.ol_flags)
            .Field("packet_type", &mbuf.Anonymous1.packet_type)
            .Field("pkt_len", &mbuf.pkt_len)
            .Field("data_len", &mbuf.data_len)
            .Field("vlan_tci", &mbuf.vlan_tci)
            .Field("hash", &mbuf.Anonymous2.hash)
            .Field("vlan_tci_outer", &mbuf.vlan_tci_outer)
            .Field("buf_len", &mbuf.buf_len)
            .Field("pool", (nint*)&mbuf.pool)
            .Field("next", (nint*)&mbuf.next)
            .Field("tx_offload", &mbuf.Anonymous3.tx_offload)
            .Field("shinfo", (nint*)&mbuf.shinfo)
            .Field("priv_size", &mbuf.priv_size)
            .Field("timesync", &mbuf.timesync)
            .Field("dynfield1", &mbuf.dynfield1);

        dps_layout_entry entry;
        new StructLayout(layout, "dps_layout_entry", &entry, sizeof(dps_layout_entry))
            .Field("type", (nint*)&entry.type)
            .Field("field", (nint*)&entry.field)
            .Field("offset", &entry.offset)
            .Field("size", &entry.size);

        dps_eth_info info;
        new StructLayout(layout, "dps_eth_info", &info, sizeof(dps_eth_info))
            .Field("name", &info.name)
            .Field("driver", &info.driver)
            .Field("mac", &info.mac)
            .Field("if_index", &info.if_index)
            .Field("socket", &info.socket)
            .Field("max_rx_queues", &info.max_rx_queues)
            .Field("max_tx_queues", &info.max_tx_queues)
            .Field("default_rx_desc", &info.default_rx_desc)
            .Field("default_tx_desc", &info.default_tx_desc)
            .Field("min_mtu", &info.min_mtu)
            .Field("max_mtu", &info.max_mtu)
            .Field("flags", &info.flags)
            .Field("rx_offload_capa", &info.rx_offload_capa)
            .Field("tx_offload_capa", &info.tx_offload_capa);

        dps_eth_conf conf;
        new StructLayout(layout, "dps_eth_conf", &conf, sizeof(dps_eth_conf))
            .Field("rx_queues", &conf.rx_queues)
            .Field("tx_queues", &conf.tx_queues)
            .Field("rx_desc", &conf.rx_desc)
            .Field("tx_desc", &conf.tx_desc)
            .Field("mtu", &conf.mtu)
            .Field("promiscuous", &conf.promiscuous)
            .Field("rx_interrupts", &conf.rx_interrupts)
            .Field("reserved", &conf.reserved)
            .Field("rx_offloads", &conf.rx_offloads)
            .Field("tx_offloads", &conf.tx_offloads);

        dps_eth_link link;
        new StructLayout(layout, "dps_eth_link", &link, sizeof(dps_eth_link))
            .Field("speed_mbps", &link.speed_mbps)
            .Field("up", &link.up)
            .Field("full_duplex", &link.full_duplex)
            .Field("reserved", &link.reserved);

        dps_eth_stats stats;
        new StructLayout(layout, "dps_eth_stats", &stats, sizeof(dps_eth_stats))
            .Field("rx_packets", &stats.rx_packets)
            .Field("tx_packets", &stats.tx_packets)
            .Field("rx_bytes", &stats.rx_bytes)
            .Field("tx_bytes", &stats.tx_bytes)
            .Field("rx_missed", &stats.rx_missed)
            .Field("rx_errors", &stats.rx_errors)
            .Field("tx_errors", &stats.tx_errors)
            .Field("rx_no_mbuf", &stats.rx_no_mbuf);

        return layout;
    }

    /// <summary>Measures the fields of one instance on the stack.</summary>
    private readonly struct StructLayout
    {
        private readonly List<LayoutEntry> layout;
        private readonly string type;
        private readonly void* start;

        public StructLayout(List<LayoutEntry> layout, string type, void* start, int size)
        {
            this.layout = layout;
            this.type = type;
            this.start = start;
            layout.Add(new LayoutEntry(type, "", 0, (uint)size));
        }

        public StructLayout Field<T>(string name, T* field) where T : unmanaged
        {
            layout.Add(new LayoutEntry(type, name, (uint)((byte*)field - (byte*)start), (uint)sizeof(T)));
            return this;
        }
    }
}
