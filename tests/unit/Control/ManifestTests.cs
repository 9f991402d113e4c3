using Dataplane.Control.Api.V1;
using Dataplane.Control.Manifests;
using Dataplane.Control.State;

namespace Dataplane.UnitTests.Control;

/// <summary>Files of resources: what is understood, and what is said about what is not.</summary>
public sealed class ManifestTests
{
    private const string Example =
        """
        # a comment
        networks:
        - name: blue
          subnets: [172.18.0.0/16, "fd00::/64"]
          gateways: 172.18.0.1          # a list of one
          ageing_seconds: 0
          vlanFiltering: false          # JSON's spelling
        ports:
        - name: dp0
          network: blue
          tap: {host: true}
        - name: web
          network: blue
          tap:
            netns: web
            addresses:
            - 172.18.0.2/16
            - fd00::2/64
            mac: 02:42:ac:12:00:02
            default_route: true
          learning: false
          storm_control: {packets_per_second: 100}
        - name: plain
          network: blue
          tap:
        static_macs:
        - {network: blue, mac: "02:00:00:00:00:01", drop: true}
        tunnel_peers:
        - {name: node2, network: far, address: 192.0.2.20, flood: false}
        neighbours:
        - {port: uplink, address: 192.0.2.1, mac: "02:00:00:00:00:02"}
        routes:
        - prefix: 10.1.0.0/16
          next_hops: [{via: 192.0.2.1, weight: 2}, {peer: node2}]
        - {prefix: "::/0", vrf: guests, type: BLACKHOLE}
        """;

    [Fact]
    public void AnExampleIsRead()
    {
        List<LocatedResource> all = Read(Example);
        Assert.Equal(["blue", "dp0", "web", "plain", "", "node2", "", "", ""], all.Select(l => l.Resource.Name));
        Assert.Equal(["uplink/192.0.2.1", "main/10.1.0.0/16", "guests/::/0"], all[6..].Select(l => l.Resource.KeyName));
        Network blue = all[0].Resource.Network;
        Assert.Equal(["172.18.0.0/16", "fd00::/64"], blue.Subnets);
        Assert.Equal(["172.18.0.1"], blue.Gateways);
        Assert.True(blue is { HasAgeingSeconds: true, AgeingSeconds: 0 });
        Port web = all[2].Resource.Port;
        Assert.Equal("02:42:ac:12:00:02", web.Tap.Mac);
        Assert.True(web is { HasLearning: true, Learning: false, HasEnabled: false });
        Assert.Equal(100u, web.StormControl.PacketsPerSecond);
        Assert.True(all[5].Resource.TunnelPeer is { HasFlood: true, Flood: false });
        Assert.Equal(["192.0.2.1", ""], all[7].Resource.Route.NextHops.Select(h => h.Via));
        Assert.Equal(Route.Types.Type.Blackhole, all[8].Resource.Route.Type);
        Assert.Equal(Port.AttachmentOneofCase.Tap, all[3].Resource.Port.AttachmentCase);
    }

    [Fact]
    public void LinesAreKnown()
    {
        LocatedResource web = Read(Example)[2];
        Assert.Equal(12, web.Line);
        Assert.Equal(18, web.LineOf("tap.addresses[1]"));
        Assert.Equal(16, web.LineOf("tap.addresses"));
        Assert.Equal(14, web.LineOf("tap.device"));
        Assert.Equal(12, web.LineOf("mtu"));
    }

    [Theory]
    [InlineData("networks:\n- name: a\n  subnet: x", "f.yaml:3:3: unknown field \"subnet\" of network; did you mean \"subnets\"?")]
    [InlineData("network:\n- name: a", "f.yaml:1:1: unknown field \"network\" of manifest; did you mean \"networks\"?")]
    [InlineData("ports:\n- name: a\n  tap:\n    adresses: []", "f.yaml:4:5: unknown field \"adresses\" of tap; did you mean \"addresses\"?")]
    [InlineData("ports:\n- name: a\n  xyzzy: 1", "f.yaml:3:3: unknown field \"xyzzy\" of port; fields are name, network, routed, tap, netdev, dpdk")]
    [InlineData("networks:\n- name: a\n  mtu: large", "f.yaml:3:8: mtu: \"large\" is not a whole number from 0 to 4294967295")]
    [InlineData("networks:\n- name: a\n  mtu: -1", "f.yaml:3:8: mtu: \"-1\" is not a whole number")]
    [InlineData("ports:\n- name: a\n  isolated: yes", "f.yaml:3:13: isolated: \"yes\" is not true or false")]
    [InlineData("ports:\n- name: a\n  tap: eth0", "f.yaml:3:8: tap: expected fields, found \"eth0\"")]
    [InlineData("ports:\n- name: [a]", "f.yaml:2:9: name: expected a text, found a list")]
    [InlineData("ports:\n- name: a\n  tap: {}\n  memory: {}", "f.yaml:4:3: port has both \"tap\" and \"memory\", only one is possible")]
    [InlineData("ports: {name: a}", "f.yaml:1:8: ports: expected a list")]
    [InlineData("ports:\n- a", "f.yaml:2:3: port: expected fields, found \"a\"")]
    [InlineData("just text", "f.yaml:1:1: expected a mapping")]
    [InlineData("kind: rout\nname: x", "f.yaml:1:7: unknown kind \"rout\"; kinds are network, port, static-mac, tunnel-peer, neighbour, route")]
    [InlineData("networks:\n- name: a\n  name: b", "f.yaml:3:3: Duplicate key")]
    [InlineData("networks: [", "f.yaml:2:1: While parsing")]
    [InlineData("networks:\n\t- name: a", "f.yaml:2:1: the line begins with a tab; YAML is indented with spaces")]
    [InlineData("{\"networks\": [{\"name\": \"a\", \"mtus\": 1}]}", "f.yaml:1:29: unknown field \"mtus\" of network; did you mean \"mtu\"?")]
    public void MistakesAreShownWhereTheyAre(string text, string expected)
    {
        ManifestException error = Assert.Throws<ManifestException>(() => Read(text));
        Assert.StartsWith(expected, error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void AllMistakesAreShown()
    {
        ManifestException error = Assert.Throws<ManifestException>(() => Read("networks:\n- nam: a\n  mtu: x\nports:\n- tap: 1\n  foo: 2"));
        Assert.Equal([2L, 3, 5, 6], error.Problems.Select(p => p.Line));
    }

    [Fact]
    public void DocumentsCanFollowEachOtherAndBeEmpty()
    {
        List<LocatedResource> all = Read("---\nkind: network\nname: a\n---\n---\nkind: port\nname: p\nnetwork: a\nmemory:\n---\nports: []\n");
        Assert.Equal([Kind.Network, Kind.Port], all.Select(l => l.Resource.Kind));
        Assert.Equal(6, all[1].Line);
        Assert.Empty(Read(""));
    }

    [Fact]
    public void WhatIsWrittenIsRead()
    {
        Manifest manifest = ResourceKeys.ToManifest(Read(Example).Select(l => l.Resource));
        manifest.Ports[0].Name = "on";          // what YAML 1.1 takes for a boolean
        manifest.Ports[1].Network = "x: #y\"";
        foreach (string text in new[] { MessageWriter.ToYaml(manifest), MessageWriter.ToJson(manifest) })
        {
            Assert.Equal(ResourceKeys.Of(manifest), Read(text).Select(l => l.Resource));
        }
    }

    [Fact]
    public void JsonHasEveryFieldAndPlainNumbers()
    {
        var engine = new EngineStatus { Generation = 9_000_000_000_000_000_000, HeartbeatAge = Google.Protobuf.WellKnownTypes.Duration.FromTimeSpan(TimeSpan.FromMilliseconds(12)) };
        string json = MessageWriter.ToJson(engine, compact: true);
        Assert.Contains("\"generation\":9000000000000000000", json, StringComparison.Ordinal);
        Assert.Contains("\"garbage_collections\":0", json, StringComparison.Ordinal);
        Assert.Contains("\"heartbeat_age\":\"0.012s\"", json, StringComparison.Ordinal);
        Assert.Contains("\"state\":\"UNKNOWN\"", json, StringComparison.Ordinal);
    }

    [Fact]
    public void ADirectoryIsReadInOrder()
    {
        string directory = Directory.CreateTempSubdirectory().FullName;
        try
        {
            File.WriteAllText(Path.Combine(directory, "20.yaml"), "ports:\n- {name: p, network: n, memory: {}}");
            File.WriteAllText(Path.Combine(directory, "10.json"), "{\"networks\": [{\"name\": \"n\"}]}");
            File.WriteAllText(Path.Combine(directory, "notes.txt"), "not: read");
            Assert.Equal(["n", "p"], ManifestReader.ReadPath(directory).Select(l => l.Resource.Name));
            File.WriteAllText(Path.Combine(directory, "30.yml"), "foo: 1");
            File.WriteAllText(Path.Combine(directory, "40.yml"), "bar: 1");
            Assert.Equal(2, Assert.Throws<ManifestException>(() => ManifestReader.ReadPath(directory)).Problems.Count);
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    private static List<LocatedResource> Read(string text) => ManifestReader.Read(new StringReader(text), "f.yaml");
}
