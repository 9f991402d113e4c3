using Dataplane.Control.Cli;
using Dataplane.Memory;
using Dataplane.Packets;
using Dataplane.Tables;

namespace Dataplane.UnitTests.Control;

/// <summary>Services, backends and published ports on the command line.</summary>
public sealed partial class CliTests
{
    [Theory]
    [InlineData("service add s 10.96.0.1", 2, "error: Option '--port' is required")]
    [InlineData("service add s 10.96.0.1 --port x", 2, "error: \"x\" is not a port; write [NAME=]PORT[:TARGET][@NODE-PORT][/PROTOCOL], with tcp, udp or sctp as protocol")]
    [InlineData("service add s 10.96.0.1 --port 80/icmp", 2, "error: \"80/icmp\" is not a port")]
    [InlineData("service add s 10.96.0.1 --port 80/1", 2, "error: \"80/1\" is not a port")]
    [InlineData("service add s 10.96.0 --port 0", 1, "error: service \"s\": \"10.96.0\" is not an IP address\nerror: service \"s\": 0 is no port: they go from 1 to 65535\n")]
    [InlineData("backend add nothing 10.0.0.1", 1, "error: backend \"nothing/10.0.0.1\": service \"nothing\" does not exist; services: (there is none)")]
    [InlineData("backend drain nothing/10.0.0.1", 1, "error: backend \"nothing/10.0.0.1\": does not exist")]
    [InlineData("publish add p 80:80:80:80 --to 10.0.0.1", 2, "error: \"80:80:80:80\" is not a port; write [[HOST-ADDRESS:]HOST-PORT:]PORT[/PROTOCOL]")]
    [InlineData("publish add p 8080:80", 2, "error: Option '--to' is required")]
    [InlineData("publish add p 8080:80 --to nobody", 1, "error: published port \"p\": port \"nobody\" does not exist; ports: (there is none)")]
    public async Task ASlipWithServicesHasItsTextAndExitCode(string command, int exitCode, string error)
    {
        (int code, string _, string said) = await RunAsync(command);
        Assert.StartsWith(error, said, StringComparison.Ordinal);
        Assert.Equal(exitCode, code);
    }

    [Theory]
    [InlineData("80", "{ \"port\": 80 }")]
    [InlineData("80:8080", "{ \"port\": 80, \"targetPort\": 8080 }")]
    [InlineData("dns=53/udp", "{ \"name\": \"dns\", \"protocol\": \"UDP\", \"port\": 53 }")]
    [InlineData("http=80:8080@30080/SCTP", "{ \"name\": \"http\", \"protocol\": \"SCTP\", \"port\": 80, \"targetPort\": 8080, \"nodePort\": 30080 }")]
    public void WordsOfAServicePortMean(string words, string port) => Assert.Equal(port, PortWords.ServicePort(words).ToString());

    [Theory]
    [InlineData("80", "{ \"targetPort\": 80 }")]
    [InlineData("8080:80", "{ \"hostPort\": 8080, \"targetPort\": 80 }")]
    [InlineData("192.0.2.10:8080:80/udp", "{ \"hostAddress\": \"192.0.2.10\", \"hostPort\": 8080, \"protocol\": \"UDP\", \"targetPort\": 80 }")]
    [InlineData("192.0.2.10::80", "{ \"hostAddress\": \"192.0.2.10\", \"targetPort\": 80 }")]
    [InlineData("[2001:db8::1]:8080:80", "{ \"hostAddress\": \"2001:db8::1\", \"hostPort\": 8080, \"targetPort\": 80 }")]
    public void WordsOfAPublishedPortMean(string words, string port) => Assert.Equal(port, PortWords.PublishedPort(words).ToString());

    [Fact]
    public async Task APersonMakesAService()
    {
        await MakeServed();
        await Succeeds("service", "shop +10.96.0.10 +198.51.100.7 +80:8080@30080/tcp +ready +2/2 +\n");
        await Succeeds("service list -o wide", "shop .* ready +2 +0 +0 +0 +main +affinity 600s, maglev +1 +");
        await Succeeds("get svc dns", "dns +10.96.0.53, fd96::53 +- +udp=53/udp, tcp=53/tcp +no-backends +0/0 +no backend takes connections: they are refused");
        await Succeeds("backend list shop", "(?s)shop +172.18.0.2 +172.18.0.2 +- +1 +ready +-.*shop +172.18.0.3 +172.18.0.3 +- +3 +ready");
        await Succeeds("backend drain shop/172.18.0.2", "(?s)backend \"shop/172.18.0.2\" updated\n  state: READY -> DRAINING|(?s)backend \"shop/172.18.0.2\" updated");
        await Succeeds("service", "shop .* 1/2 ");
        await Succeeds("backend drain shop/172.18.0.2 --undo", "updated");
        await Succeeds("publish", "web +main +172.18.0.1:8080, 192.0.2.10:8080 +tcp +172.18.0.2:80 +web");
        await Succeeds("publish add free --to 172.18.0.9 80", "published port \"free\" created");
        await Succeeds("get published-ports -o json", "\"host_port\": 49152");
        (int code, string _, string error) = await RunAsync("publish add again --to web 8080:80");
        Assert.Equal((1, "error: published port \"again\": tcp port 8080 of the node is taken by published port \"web\"; take another host_port, or leave it out for a free one\n"), (code, error));
        (code, _, error) = await RunAsync("service delete shop");
        Assert.Equal((1, "error: service \"shop\": is used by backend \"shop/172.18.0.2\", backend \"shop/172.18.0.3\"; delete these first, or in the same call\n"), (code, error));
        await Succeeds("service delete shop --backends", "(?s)service \"shop\" deleted");
    }

    [Fact]
    public async Task WhatIsShownOfServicesCanBeAppliedAgain()
    {
        await MakeServed();
        string file = Path.Combine(_directory, "all.yaml");
        await File.WriteAllTextAsync(file, await Succeeds("get all -o yaml", "(?s)services:.*backends:.*published_ports:"));
        Assert.DoesNotContain("updated", await Succeeds($"apply -f {file}", "service \"shop\" unchanged"), StringComparison.Ordinal);
        await Succeeds($"delete -f {file}", "(?s)service \"shop\" deleted.*backend \"shop/172.18.0.2\" deleted");
    }

    [Fact]
    public async Task ConnectionsAreListedAsConntrackDoes()
    {
        await MakeServed();
        await Succeeds("connections", "^$");
        Insert(Wire.ProtocolTcp, 0x0A60_000A, 80, 0xAC12_0002, 8080, TcpHeader.Syn);
        Insert(Wire.ProtocolUdp, 0xC000_0207, 53, 0xC000_0207, 53, 0);
        await Succeeds("connections --service shop",
            "^tcp    1[12]\\d SYN_SENT src=172.18.0.9 dst=10.96.0.10 sport=40000 dport=80 \\[UNREPLIED\\] src=172.18.0.2 dst=172.18.0.9 sport=8080 dport=40000 service=shop\n$");
        await Succeeds("connections -p udp", "^udp    [23]\\d src=172.18.0.9 dst=192.0.2.7 sport=40000 dport=53 \\[UNREPLIED\\] src=192.0.2.7 dst=172.18.0.9 sport=53 dport=40000\n$");
        await Succeeds("connections --dport 80 -d 10.96.0.10 -s 172.18.0.9 --sport 40000 --backend 172.18.0.2 --state syn_sent --vrf main -o json", "\"service\": \"shop\"");
        await Succeeds("connections -s 172.18.0.8", "^$");
        await Succeeds("connections -o wide", "main +tcp +SYN_SENT +172.18.0.9:40000 +10.96.0.10:80 +service=shop +172.18.0.2:8080 +");
        await Succeeds("connections --stats", "\n2 +2 +16384 +4096 +2 +0 +0 +0 +0");
        (int code, string _, string error) = await RunAsync("connections --service nothing -s x");
        Assert.Equal((1, "error: \"x\" is not an IP address\nerror: service \"nothing\": does not exist\n"), (code, error));
    }

    /// <summary>A connection of 172.18.0.9, port 40000.</summary>
    private void Insert(byte protocol, uint destination, ushort port, uint backend, ushort backendPort, byte signal)
    {
        const uint Client = 0xAC12_0009;
        Segment segment = _bench.Segment;
        FrontendKey key = FrontendKey.Of4(1, protocol, destination, port);
        var connection = new NewConnection
        {
            Original = ConnectionKey.Of4(1, protocol, Client, destination, 40_000, port),
            Reply = ConnectionKey.Of4(1, protocol, backend, Client, backendPort, 40_000),
            Frontend = (uint)segment.ServiceTable.Find(in key, segment.Generation),
            Signal = signal,
        };
        Assert.Equal(InsertResult.Inserted, segment.Connections.TryInsert(in connection, (uint)(Environment.TickCount64 / 1000), out _));
    }

    private static async Task MakeServed()
    {
        await Succeeds("port add uplink --memory --routed --address 192.0.2.10/24", "created");
        await Succeeds("network add blue -s 172.18.0.0/16 -g 172.18.0.1 --masquerade", "created");
        await Succeeds("port add web -n blue --netns web --address 172.18.0.2/16", "created");
        await Succeeds("service add shop 10.96.0.10 --port 80:8080@30080 --external 198.51.100.7 --affinity 600 --maglev", "service \"shop\" created");
        await Succeeds("service add dns 10.96.0.53 fd96::53 --port udp=53/udp --port tcp=53/tcp", "created");
        await Succeeds("backend add shop 172.18.0.2", "backend \"shop/172.18.0.2\" created");
        await Succeeds("backend add shop 172.18.0.3 --weight 3", "created");
        await Succeeds("publish add web --to web 8080:80", "published port \"web\" created");
    }
}
