using System.Net;
using Dataplane.Control.Api.V1;
using Dataplane.Control.Compiler;
using Dataplane.Control.Runtime;
using Dataplane.Control.State;
using Dataplane.Memory;
using Dataplane.Tables;
using V1Backend = Dataplane.Control.Api.V1.Backend;

namespace Dataplane.UnitTests.Control;

/// <summary>Services into a segment: what a packet finds there, and what a change costs.</summary>
public sealed unsafe class ServiceWriterTests : IDisposable
{
    private const string Node = "here";

    private readonly Segment _segment = Segment.CreatePrivate(new SegmentOptions { MaxFrontends = 64, MaxBackends = 64, BackendSetBytes = 512 << 10 });
    private readonly TableWriter _tables;
    private DesiredState _state = RoutingValidationTests.Before;
    private CompiledState _compiled;

    public ServiceWriterTests()
    {
        _tables = new TableWriter(_segment);
        _compiled = StateCompiler.Compile(_state, Node);
        _tables.Commit(_compiled);
    }

    public void Dispose() => _segment.Dispose();

    private TableWriter.Outcome Apply(params Resource[] resources) => Commit(new Batch { Apply = resources });

    private TableWriter.Outcome Delete(params (Kind Kind, string Name)[] keys) =>
        Commit(new Batch { Delete = [.. keys.Select(k => new ResourceKey { Kind = k.Kind, Name = k.Name })] });

    private TableWriter.Outcome Commit(Batch batch, TableWriter? tables = null)
    {
        PlannedBatch plan = BatchPlanner.Plan(_state, batch, new Limits(255, 63));
        CompiledChange change = StateCompiler.Compile(plan.From(_state), _compiled, everything: false, Node);
        TableWriter.Outcome outcome = (tables ?? _tables).Commit(change);
        (_state, _compiled) = (plan.After, change.After);
        return outcome;
    }

    /// <summary>The frontend that a packet finds; none exists when its flags say so.</summary>
    private FrontendRecord Find(string address, int port, TransportProtocol protocol = TransportProtocol.Tcp, int vrf = 1) =>
        At(FrontendKey.Of((ushort)vrf, protocol.Number, IsIPv6(address), InterfaceCompiler.Number(IPAddress.Parse(address)), (ushort)port));

    private FrontendRecord FindAddress(string address, int vrf = 1) =>
        At(FrontendKey.OfAddress((ushort)vrf, IsIPv6(address), InterfaceCompiler.Number(IPAddress.Parse(address))));

    private FrontendRecord At(FrontendKey key)
    {
        int index = _segment.ServiceTable.Find(in key, _segment.Generation);
        return index == 0 ? default : _segment.Frontend(index, _segment.Generation);
    }

    private static bool IsIPv6(string address) => address.Contains(':', StringComparison.Ordinal);

    /// <summary>The backends behind an address and port, with weights: "172.18.0.2:80*1".</summary>
    private string Servers(string address, int port, TransportProtocol protocol = TransportProtocol.Tcp)
    {
        FrontendRecord frontend = Find(address, port, protocol);
        Assert.True(frontend.Has(FrontendFlags.Exists), $"{address}:{port} is no service");
        return frontend.Set == 0 ? "" : string.Join(' ', BackendSet.List(BackendSet.At(_segment.BackendSets, frontend.Set)).Select(m => $"{Text(Backend((int)m.Backend))}*{m.Weight}"));
    }

    private BackendRecord Backend(int index) => _segment.Backend(index, _segment.Generation);

    private static string Text(BackendRecord record)
    {
        Assert.True(record.Has(BackendFlags.Exists));
        return $"{RouteCompiler.AddressOf(record.Has(BackendFlags.IPv6), new UInt128(record.Address.High, record.Address.Low))}:{record.Port}";
    }

    private static int Count(int max, Func<int, bool> exists) => Enumerable.Range(1, max - 1).Count(exists);

    private int Backends => Count(_segment.MaxBackends, i => Backend(i).Has(BackendFlags.Exists));

    private int Frontends => Count(_segment.MaxFrontends, i => _segment.Frontend(i, _segment.Generation).Has(FrontendFlags.Exists));

    private VrfFlags Vrf(int index) => _segment.Vrf(index, _segment.Generation).Flags;

    [Fact]
    public void AClusterIPLeadsToItsBackends()
    {
        Apply(
            Make.Service("shop", "10.96.0.10 fd96::10", "http:80->8080 dns:53/udp"),
            Make.Backend("shop", "172.18.0.2"), Make.Backend("shop", "172.18.0.3", b => { b.Weight = 3; b.Ports.Add(new BackendPort { Name = "http", Port = 81 }); }),
            Make.Backend("shop", "fd00::2"));
        Assert.Equal("172.18.0.2:8080*1 172.18.0.3:81*3", Servers("10.96.0.10", 80));
        Assert.Equal("172.18.0.2:53*1 172.18.0.3:53*3", Servers("10.96.0.10", 53, TransportProtocol.Udp));
        Assert.Equal("fd00::2:8080*1", Servers("fd96::10", 80));
        Assert.Equal(default, Find("10.96.0.10", 81));
        Assert.Equal(default, Find("10.96.0.10", 80, TransportProtocol.Udp));
        Assert.Equal(default, Find("10.96.0.10", 80, vrf: 2));
        Assert.Equal(FrontendFlags.Exists | FrontendFlags.Address, FindAddress("10.96.0.10").Flags);
        Assert.Equal(_state.Services.Services["shop"].Number, Find("10.96.0.10", 80).Service);
        Assert.Equal((6, 6), (Frontends, Backends));
    }

    [Fact]
    public void OneBackendCostsItsServiceAlone()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Service("b", "10.96.0.2"), Make.Backend("a", "172.18.0.2"), Make.Backend("b", "172.18.0.2"));
        uint other = Find("10.96.0.2", 80).Set;
        ulong generation = _segment.Generation;
        Assert.Equal(2, Apply(Make.Backend("a", "172.18.0.3")).Services); // its record, and that of the frontend
        Assert.Equal((generation + 1, "172.18.0.2:80*1 172.18.0.3:80*1"), (_segment.Generation, Servers("10.96.0.1", 80)));
        Assert.Equal((other, "172.18.0.2:80*1"), (Find("10.96.0.2", 80).Set, Servers("10.96.0.2", 80)));
        Assert.Equal(2, Delete((Kind.Backend, "a/172.18.0.2")).Services);
        Assert.Equal("172.18.0.3:80*1", Servers("10.96.0.1", 80));
        Assert.Equal(2, Backends);
    }

    [Fact]
    public void ADrainingBackendServesWhenThereIsNoOther()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Backend("a", "172.18.0.2"), Make.Backend("a", "172.18.0.3"));
        Apply(Make.Backend("a", "172.18.0.2", b => b.State = V1Backend.Types.State.Draining));
        Assert.Equal("172.18.0.3:80*1", Servers("10.96.0.1", 80));
        Assert.Equal(2, Backends); // connections that it has go on
        Assert.Equal(1, Count(_segment.MaxBackends, i => Backend(i).Has(BackendFlags.Exists | BackendFlags.Draining)));
        Apply(Make.Backend("a", "172.18.0.3", b => b.State = V1Backend.Types.State.Down));
        Assert.Equal("172.18.0.2:80*1", Servers("10.96.0.1", 80));
        Assert.Equal(1, Backends);
        Delete((Kind.Backend, "a/172.18.0.2"));
        Assert.Equal(("", 0), (Servers("10.96.0.1", 80), Backends)); // refused, not unknown
    }

    [Fact]
    public void ABackendWithoutWeightGetsNothing()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Backend("a", "172.18.0.2", b => b.Weight = 0), Make.Backend("a", "172.18.0.3", b => b.Weight = 7));
        Assert.Equal("172.18.0.3:80*7", Servers("10.96.0.1", 80));
        Assert.Equal(2, Backends);
    }

    [Fact]
    public void ByPolicyLocalOnlyBackendsOfThisNodeServe()
    {
        Apply(
            Make.Service("a", "10.96.0.1", "80^30080", s => { s.ExternalPolicy = Service.Types.Policy.Local; s.ExternalIps.Add("198.51.100.1"); }),
            Make.Backend("a", "172.18.0.2", b => b.Node = Node), Make.Backend("a", "10.244.2.2", b => b.Node = "there"));
        Assert.Equal("10.244.2.2:80*1 172.18.0.2:80*1", Servers("10.96.0.1", 80));
        foreach ((string address, int port) in new[] { ("198.51.100.1", 80), ("192.0.2.10", 30080), ("172.18.0.1", 30080), ("10.244.1.1", 30080) })
        {
            Assert.Equal("172.18.0.2:80*1", Servers(address, port));
            Assert.False(Find(address, port).Has(FrontendFlags.SourceNat));
        }
        Assert.Equal(default, Find("192.0.2.10", 80));
        Assert.Equal(default, FindAddress("192.0.2.10")); // the node's own
        // The last one that serves while it goes, then nobody.
        Apply(Make.Backend("a", "172.18.0.2", b => { b.Node = Node; b.State = V1Backend.Types.State.Draining; }));
        Assert.Equal("172.18.0.2:80*1", Servers("198.51.100.1", 80));
        Delete((Kind.Backend, "a/172.18.0.2"));
        Assert.Equal(("", "10.244.2.2:80*1"), (Servers("198.51.100.1", 80), Servers("10.96.0.1", 80)));
    }

    [Theory]
    [InlineData(false, null, false, false)]
    [InlineData(true, null, false, true)]      // the answer of another node's backend would not come back this way
    [InlineData(true, false, false, false)]
    [InlineData(false, true, true, true)]
    public void TheClientsAddressIsReplacedWhereItMustBe(bool elsewhere, bool? asked, bool within, bool outside)
    {
        Apply(
            Make.Service("a", "10.96.0.1", "80^30080", s =>
            {
                s.ExternalIps.Add("198.51.100.1");
                if (asked is { } value)
                {
                    s.SourceNat = value;
                }
            }),
            Make.Backend("a", "172.18.0.2", b => b.Node = elsewhere ? "there" : Node));
        Assert.Equal((within, outside, outside), (Find("10.96.0.1", 80).Has(FrontendFlags.SourceNat), Find("198.51.100.1", 80).Has(FrontendFlags.SourceNat), Find("192.0.2.10", 30080).Has(FrontendFlags.SourceNat)));
    }

    [Fact]
    public void SettingsAreInTheFrontend()
    {
        Apply(Make.Service("a", "10.96.0.1", more: s =>
        {
            s.Affinity = new Affinity();
            s.Dsr = true;
            s.Timeouts = new Timeouts { EstablishedSeconds = 1, HalfOpenSeconds = 2, ClosingSeconds = 3, UdpSeconds = 4, UdpAnsweredSeconds = 5 };
        }));
        FrontendRecord record = Find("10.96.0.1", 80);
        Assert.Equal(FrontendFlags.Exists | FrontendFlags.Affinity | FrontendFlags.Dsr, record.Flags);
        Assert.Equal((10_800u, 1u, 2u, 3u, 4u, 5u), (record.AffinitySeconds, record.EstablishedSeconds, record.HalfOpenSeconds, record.ClosingSeconds, record.UdpSeconds, record.UdpAnsweredSeconds));
    }

    [Fact]
    public void PingsAreAnsweredAsAsked()
    {
        Apply(Make.Service("always", "10.96.0.1", more: s => s.Ping = Service.Types.Ping.Always), Make.Service("ready", "10.96.0.2", more: s => s.Ping = Service.Types.Ping.IfReady));
        Assert.Equal((true, false), (FindAddress("10.96.0.1").Has(FrontendFlags.AnswersPing), FindAddress("10.96.0.2").Has(FrontendFlags.AnswersPing)));
        Apply(Make.Backend("ready", "172.18.0.2"));
        Assert.True(FindAddress("10.96.0.2").Has(FrontendFlags.AnswersPing));
        Delete((Kind.Backend, "ready/172.18.0.2"));
        Assert.False(FindAddress("10.96.0.2").Has(FrontendFlags.AnswersPing));
    }

    [Fact]
    public void ASharedAddressStaysWithItsLastService()
    {
        Apply(Make.Service("a", "", "80", s => s.ExternalIps.Add("198.51.100.1")), Make.Service("b", "", "81", s => { s.ExternalIps.Add("198.51.100.1"); s.Ping = Service.Types.Ping.Always; }));
        Assert.True(FindAddress("198.51.100.1").Has(FrontendFlags.AnswersPing));
        Delete((Kind.Service, "b"));
        Assert.Equal(FrontendFlags.Exists | FrontendFlags.Address, FindAddress("198.51.100.1").Flags);
        Assert.Equal(default, Find("198.51.100.1", 81));
        Delete((Kind.Service, "a"));
        Assert.Equal((default, 0), (FindAddress("198.51.100.1"), Frontends));
    }

    [Fact]
    public void APortCanMoveFromOneServiceToAnotherInABatch()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Backend("a", "172.18.0.2"));
        Commit(new Batch
        {
            Apply = [Make.Service("b", "10.96.0.1"), Make.Backend("b", "172.18.0.3")],
            Delete = [new ResourceKey { Kind = Kind.Service, Name = "a" }, new ResourceKey { Kind = Kind.Backend, Name = "a/172.18.0.2" }],
        });
        Assert.Equal(("172.18.0.3:80*1", 2, 1), (Servers("10.96.0.1", 80), Frontends, Backends));
        Assert.Equal(_state.Services.Services["b"].Number, Find("10.96.0.1", 80).Service);
    }

    [Fact]
    public void MaglevSetsAreMadeAndShared()
    {
        Apply(Make.Service("a", "10.96.0.1", "80^30080", s => s.Distribution = Service.Types.Distribution.Maglev), Make.Backend("a", "172.18.0.2"), Make.Backend("a", "172.18.0.3"));
        FrontendRecord cluster = Find("10.96.0.1", 80), node = Find("192.0.2.10", 30080);
        Assert.Equal(cluster.Set, node.Set);
        Assert.NotEqual(0u, BackendSet.At(_segment.BackendSets, cluster.Set)->Table);
        Apply(Make.Service("a", "10.96.0.1", "80^30080"));
        Assert.Equal(0u, BackendSet.At(_segment.BackendSets, Find("10.96.0.1", 80).Set)->Table);
    }

    [Fact]
    public void APublishedPortLeadsToItsContainer()
    {
        Apply(Make.Published("p", "", 80, 8080, p => p.Port = "web"), Make.Published("q", "172.18.0.9", 53, 53, p => { p.Protocol = TransportProtocol.Udp; p.HostAddress = "192.0.2.10"; }));
        Assert.Equal("172.18.0.2:80*1", Servers("192.0.2.10", 8080));
        Assert.Equal("172.18.0.2:80*1", Servers("172.18.0.1", 8080));
        Assert.Equal("fd00::2:80*1", Servers("2001:db8::10", 8080));
        Assert.Equal("172.18.0.9:53*1", Servers("192.0.2.10", 53, TransportProtocol.Udp));
        Assert.Equal(default, Find("172.18.0.1", 53, TransportProtocol.Udp));
        // With another address of the container, and of the node.
        Apply(Make.Tap("web", "blue", "172.18.0.77/16", "web"));
        Assert.Equal("172.18.0.77:80*1", Servers("192.0.2.10", 8080));
        Assert.Equal(default, Find("2001:db8::10", 8080));
        Apply(Make.Routed("uplink", "192.0.2.10/24 2001:db8::10/64"), Make.Routed("second", "203.0.113.1/24"));
        Assert.Equal("172.18.0.77:80*1", Servers("203.0.113.1", 8080));
        Delete((Kind.PublishedPort, "p"), (Kind.PublishedPort, "q"));
        Assert.Equal((0, 0), (Frontends, Backends));
    }

    [Fact]
    public void PacketsAreTrackedWhereThereIsSomethingToFind()
    {
        Assert.Equal((VrfFlags.None, VrfFlags.None), (Vrf(1), Vrf(2)));
        Apply(Make.Service("a", "10.96.0.1", more: s => s.Vrfs.Add("guests")));
        Assert.Equal((VrfFlags.None, VrfFlags.Tracks), (Vrf(1), Vrf(2)));
        Apply(Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1", n => { n.Router = new Router(); n.Masquerade = true; }));
        Assert.Equal((VrfFlags.Tracks, VrfFlags.Tracks), (Vrf(1), Vrf(2)));
        Delete((Kind.Service, "a"));
        Assert.Equal((VrfFlags.Tracks, VrfFlags.None), (Vrf(1), Vrf(2)));
        Apply(Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1", n => n.Router = new Router()));
        Assert.Equal(VrfFlags.None, Vrf(1));
    }

    [Fact]
    public void MasqueradeIsOnTheNetworkAndItsPoolOnTheRoutedPort()
    {
        Apply(Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1", n => { n.Router = new Router(); n.Masquerade = true; }));
        InterfaceRecord blue = Interface("blue.router"), far = Interface("far.router"), uplink = Interface("uplink");
        Assert.Equal((true, false, false), (blue.Has(InterfaceFlags.Masqueraded), far.Has(InterfaceFlags.Masqueraded), uplink.Has(InterfaceFlags.Masqueraded)));
        Assert.Equal((0, 0, 1), (blue.NatPool, far.NatPool, uplink.NatPool));
        NatPoolRecord pool = _segment.NatPool(1, _segment.Generation);
        Assert.Equal((1, 1, 0xC000_020Au, (ushort)1024, ushort.MaxValue), (pool.Count4, pool.Count6, pool.Addresses4[0], pool.FirstPort, pool.LastPort));
        Apply(Make.Routed("uplink", "192.0.2.10/24 2001:db8::10/64", p =>
            p.Routed.Nat = new Nat { Addresses = { "198.51.100.1", "198.51.100.2" }, FirstPort = 2000, LastPort = 3000, EndpointIndependent = true }));
        pool = _segment.NatPool(1, _segment.Generation);
        Assert.Equal((2, 0, 0xC633_6402u, (ushort)2000, (ushort)3000), (pool.Count4, pool.Count6, pool.Addresses4[1], pool.FirstPort, pool.LastPort));
        Assert.Equal(NatPoolFlags.Exists | NatPoolFlags.EndpointIndependent, pool.Flags);
        Apply(Make.Net("blue", "172.18.0.0/16 fd00::/64", "172.18.0.1 fd00::1", n => n.Router = new Router()));
        Assert.Equal((default, (ushort)0), (_segment.NatPool(1, _segment.Generation).Flags, Interface("uplink").NatPool));
    }

    private InterfaceRecord Interface(string name) => _segment.Interface(_state.Topology.Find(name)!.Index, _segment.Generation);

    [Fact]
    public void AnotherProcessFindsNothingToDo()
    {
        Apply(Make.Service("a", "10.96.0.1", "80^30080"), Make.Service("m", "10.96.0.2", more: s => s.Distribution = Service.Types.Distribution.Maglev),
            Make.Backend("a", "172.18.0.2"), Make.Backend("m", "172.18.0.2"), Make.Published("p", "172.18.0.2", 80));
        ulong generation = _segment.Generation;
        var again = new TableWriter(_segment);
        Assert.Equal(new TableWriter.Outcome(0, 0, 0), again.Commit(StateCompiler.Compile(_state, Node)));
        Assert.Equal(generation, _segment.Generation);
        // It knows everything by its number.
        Assert.Equal(3, Commit(new Batch { Apply = [Make.Backend("a", "172.18.0.3")] }, again).Services - (NodeAddresses - 1));
        Assert.Equal("172.18.0.2:80*1 172.18.0.3:80*1", Servers("192.0.2.10", 30080));
    }

    private int NodeAddresses => _state.Topology.NodeAddresses("main").Count(a => a.AddressFamily == System.Net.Sockets.AddressFamily.InterNetwork);

    [Fact]
    public void WhatAnotherProcessLeftBehindIsRemoved()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Backend("a", "172.18.0.2"), Make.Published("p", "172.18.0.2", 80));
        new TableWriter(_segment).Commit(StateCompiler.Compile(RoutingValidationTests.Before, Node));
        Assert.Equal((0, 0, VrfFlags.None), (Frontends, Backends, Vrf(1)));
    }

    /// <summary>A connection goes on when its service is gone. It is not that of the service which has the number of its frontend then.</summary>
    [Fact]
    public void AConnectionIsOfNoOtherServiceThanItsOwn()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Backend("a", "172.18.0.2"));
        int number = Number("10.96.0.1");
        ConnectionKey original = ConnectionKey.Of4(1, 6, 0xAC12_0009, 0x0A60_0001, 40000, 80);
        var connection = new NewConnection { Original = original, Reply = ConnectionKey.Of4(1, 6, 0xAC12_0002, 0xAC12_0009, 80, 40000), Frontend = (uint)number, Backend = 1, Signal = 2 };
        Assert.Equal(InsertResult.Inserted, _segment.ConnectionsOf(0).TryInsert(in connection, 1, out _));
        Assert.Equal("a", Listed().Service);
        Delete((Kind.Service, "a"), (Kind.Backend, "a/172.18.0.2"));
        Assert.Equal("", Listed().Service);
        // A process that takes over gives free numbers away.
        var next = new TableWriter(_segment);
        next.Commit(StateCompiler.Compile(_state, Node));
        Commit(new Batch { Apply = [Make.Service("b", "10.96.0.2"), Make.Service("c", "10.96.0.3")] }, next);
        Assert.Contains(number, new[] { Number("10.96.0.2"), Number("10.96.0.3") });
        Assert.Equal("", Listed().Service);
        // Where the first one was.
        Commit(new Batch { Apply = [Make.Service("a", "10.96.0.1")] }, next);
        Assert.NotEqual(number, Number("10.96.0.1"));
        Assert.Equal("", Listed().Service);

        int Number(string address) => _segment.ServiceTable.Find(FrontendKey.Of4(1, 6, (uint)InterfaceCompiler.Number(IPAddress.Parse(address)).Low, 80), _segment.Generation);

        Connection Listed() => Assert.Single(new ConnectionListing(_state, _segment, new ListConnectionsRequest()).Read(false, 0, _segment.Connections.SlotCount(false)));
    }

    [Fact]
    public void TheNumberOfARemovedBackendRestsUntilItsConnectionsAreGone()
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Service("r", "10.96.0.2", more: s => s.BackendRemoval = Service.Types.Removal.Reset), Make.Backend("r", "172.18.0.9"));
        int first = (int)BackendSet.List(BackendSet.At(_segment.BackendSets, Find("10.96.0.2", 80).Set)).Single().Backend;
        Delete((Kind.Backend, "r/172.18.0.9"));
        ConnectionSweep sweep = _segment.ConnectionSweep;
        Assert.Equal((1ul, true, true), (sweep.Requested, sweep.IsGone((uint)first), sweep.IsReset((uint)first)));
        // Connections with direct server return find their way by its address.
        Assert.Equal((BackendFlags.None, InterfaceCompiler.Number(IPAddress.Parse("172.18.0.9"))), (Backend(first).Flags, Backend(first).Address));
        for (int i = 1; i < 63; i++)
        {
            Apply(Make.Backend("a", $"172.18.1.{i}"));
            Delete((Kind.Backend, $"a/172.18.1.{i}"));
        }
        Assert.Equal((63ul, true, false), (sweep.Requested, sweep.IsGone(62), sweep.IsReset(62)));
        Assert.Throws<TableFullException>(() => Apply(Make.Backend("a", "172.18.2.1")));
        sweep.Done = sweep.Requested; // as housekeeping says it
        Apply(Make.Backend("a", "172.18.2.1"));
        Apply(Make.Backend("a", "172.18.2.2"));
        Assert.Equal("172.18.2.1:80*1 172.18.2.2:80*1", Servers("10.96.0.1", 80));
        Assert.Equal(61, Enumerable.Range(1, 63).Count(i => sweep.IsGone((uint)i)));
    }

    [Theory]
    [InlineData("--max-frontends")]
    [InlineData("--max-backends")]
    [InlineData("--service-memory")]
    public void AFullTableIsRefusedAndLeavesNothing(string option)
    {
        Apply(Make.Service("a", "10.96.0.1"), Make.Backend("a", "172.18.0.2"));
        Resource[] tooMany = option switch
        {
            "--max-frontends" => [.. Enumerable.Range(1, 64).Select(i => Make.Service($"s{i}", $"10.97.0.{i}"))],
            "--max-backends" => [.. Enumerable.Range(1, 64).Select(i => Make.Backend("a", $"172.18.1.{i}"))],
            _ => [.. Enumerable.Range(1, 5).SelectMany(i => new[] { Make.Service($"s{i}", $"10.97.0.{i}", more: s => s.Distribution = Service.Types.Distribution.Maglev), Make.Backend($"s{i}", "172.18.0.2") })],
        };
        ulong generation = _segment.Generation;
        TableFullException error = Assert.Throws<TableFullException>(() => Apply(tooMany));
        Assert.Contains(option, error.Message, StringComparison.Ordinal);
        Assert.Equal((generation, 2, 1, "172.18.0.2:80*1"), (_segment.Generation, Frontends, Backends, Servers("10.96.0.1", 80)));
        // And goes on.
        Apply(Make.Backend("a", "172.18.0.3"));
        Assert.Equal("172.18.0.2:80*1 172.18.0.3:80*1", Servers("10.96.0.1", 80));
    }
}
