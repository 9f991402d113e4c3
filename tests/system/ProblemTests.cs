using System.Text.Json.Nodes;
using Dataplane.Control.Api.V1;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests;

/// <summary>A batch with problems is refused with all of them, and nothing of it has happened.</summary>
[Collection(SharedSwitchTests.Name)]
public sealed class ProblemTests : IDisposable
{
    private readonly Switch _switch;
    private readonly Lan _lan;
    private readonly ulong _generation, _revision;
    private readonly string _state, _devices;

    public ProblemTests(SharedSwitch shared)
    {
        _switch = shared.Switch;
        _lan = new Lan(_switch, "prob", 101);
        _lan.AddContainers("", "a");
        (_generation, _revision) = (_switch.Api.Status.Generation, _switch.Api.Status.Revision);
        _state = State();
        _devices = _switch.Host.Do("ip", "-o", "link");
    }

    /// <summary>Everything that is wrong, in one answer, each with the line it stands in.</summary>
    [Fact]
    public void EveryProblemIsListed()
    {
        const string Yaml = """
            networks:
            - {name: good, subnets: [10.102.0.0/16]}
            - {name: overlaps, subnets: [10.101.128.0/17], mac: "zz:00"}
            - {name: "bad name", subnets: [10.103.0.0/33]}
            ports:
            - {name: fine, network: good, tap: {}}
            - {name: badmac, network: good, tap: {mac: "01:00:5e:00:00:01"}}
            - {name: outside, network: good, tap: {addresses: [10.9.0.1/16]}}
            - {name: nowhere, network: nonet, tap: {}}
            """;
        _switch.TryApply(Yaml, "--dry-run").EndsWith(1).Says("network \"overlaps\"", "port \"nowhere\"");
        Refused(1, Yaml,
            "-:3: network \"overlaps\"", "subnet 10.101.128.0/17 overlaps 10.101.0.0/16 of network \"prob\"", "zz:00",
            "-:4: network \"bad name\"", "\"10.103.0.0/33\" is not a subnet",
            "-:7: port \"badmac\"", "01:00:5e:00:00:01",
            "-:8: port \"outside\"", "address 10.9.0.1/16 is outside network \"good\"",
            "-:9: port \"nowhere\"", "network \"nonet\" does not exist");
    }

    [Fact]
    public void UnknownFieldsAreListedWithWhatWasMeant() =>
        Refused(2, """
            networks:
            - {name: good, subnet: 10.102.0.0/16}
            ports:
            - {name: fine, network: good, tap: {adresses: [10.102.0.2/16]}, isolated: maybe}
            """,
            "-:2:", "unknown field \"subnet\"", "did you mean \"subnets\"", "-:4:", "unknown field \"adresses\"", "did you mean \"addresses\"", "maybe");

    /// <summary>The kernel is asked before anything is made: devices and namespaces of other people.</summary>
    [Fact]
    public void WhatIsInTheWayOnTheMachineIsListed()
    {
        Station a = _lan["a"];
        a.Namespace.Do("ip", "tuntap", "add", "dev", "somebodys", "mode", "tap");
        try
        {
            Refused(1, $$"""
                ports:
                - {name: fine, network: {{_lan.Name}}, tap: {} }
                - {name: taken, network: {{_lan.Name}}, tap: {netns: {{a.Namespace.Name}}, device: somebodys} }
                - {name: nons, network: {{_lan.Name}}, tap: {netns: no-such-namespace} }
                - {name: same, network: {{_lan.Name}}, tap: {netns: {{a.Namespace.Name}} } }
                """,
                "port \"same\"", $"device \"eth0\" in namespace \"{a.Namespace.Name}\" belongs to port \"{a.Port}\"");
            Refused(1, $$"""
                ports:
                - {name: fine, network: {{_lan.Name}}, tap: {} }
                - {name: taken, network: {{_lan.Name}}, tap: {netns: {{a.Namespace.Name}}, device: somebodys} }
                - {name: nons, network: {{_lan.Name}}, tap: {netns: no-such-namespace} }
                """,
                "port \"taken\"", $"device \"somebodys\" exists already in namespace \"{a.Namespace.Name}\"",
                "port \"nons\"", "no-such-namespace");
        }
        finally
        {
            a.Namespace.Do("ip", "link", "delete", "somebodys");
        }
    }

    /// <summary>The engine refuses the last port of a batch, when the first ones have their devices: they are taken back.</summary>
    [Fact]
    public void WhatTheEngineRefusesTakesTheOthersBack() =>
        Refused(1, $$"""
            ports:
            - {name: first, network: {{_lan.Name}}, tap: {} }
            - {name: last, network: {{_lan.Name}}, dpdk: {devargs: net_nosuchdriver0} }
            """,
            "port \"last\"", "net_nosuchdriver0");

    [Fact]
    public void APortThatExists()
    {
        _switch.Run("port", "add", _lan["a"].Port, "--network", _lan.Name, "--device", "other").EndsWith(1).Says($"port \"{_lan["a"].Port}\"", "exists");
        _switch.Run("network", "add", _lan.Name).EndsWith(1).Says($"network \"{_lan.Name}\"", "exists");
        NothingHappened();
    }

    [Fact]
    public void WhatIsInUseIsNotDeleted()
    {
        _switch.Run("network", "delete", _lan.Name).EndsWith(1).Says($"is used by port \"{_lan["a"].Port}\"");
        _switch.Run("port", "delete", _lan["a"].Port, "no-such-port").EndsWith(1).Says("port \"no-such-port\"", "does not exist");
        NothingHappened();
        Ping.DoesNotReach(_lan["a"], "10.101.0.77");
    }

    public void Dispose()
    {
        _switch.Do("port", "delete", _lan["a"].Port);
        _switch.Do("network", "delete", _lan.Name);
    }

    private void Refused(int exitCode, string yaml, params string[] says)
    {
        Finished refused = _switch.TryApply(yaml).EndsWith(exitCode).Says(says);
        Assert.DoesNotContain("Unhandled exception", refused.ToString(), StringComparison.Ordinal);
        NothingHappened();
    }

    private void NothingHappened()
    {
        Assert.Equal(_state, State());
        Assert.Equal(_devices, _switch.Host.Do("ip", "-o", "link"));
        EngineStatus status = _switch.Api.Status;
        Assert.Equal((_generation, _revision), (status.Generation, status.Revision));
        Assert.Equal(PortStatus.Types.State.Up, _switch.Api.PortStatus(_lan["a"].Port).State);
    }

    /// <summary>Resources without their status, which moves with the packets.</summary>
    private string State()
    {
        JsonNode state = JsonNode.Parse(_switch.Do("get", "all", "-o", "json"))!;
        foreach (JsonObject resource in state.AsObject().SelectMany(kind => kind.Value!.AsArray()).Select(resource => resource!.AsObject()))
        {
            resource.Remove("status");
        }
        return state.ToJsonString();
    }
}
