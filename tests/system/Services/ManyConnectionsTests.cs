using System.Globalization;
using System.Text.RegularExpressions;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>10,000 connections at a time (<c>wrk</c>) to real servers, while backends come and go. A request waits on each of them.</summary>
public sealed partial class ManyConnectionsTests(ServiceNode node) : ServiceTest(node)
{
    private const int Connections = 10_000;

    /// <summary>States of connections that a client still hopes to get something from.</summary>
    private static readonly string[] Open = ["SYN_SENT", "SYN_RECV", "ESTABLISHED"];

    /// <summary>
    /// Not one request fails: neither when a backend is added, nor when one is drained until its connections have ended, removed, and its server
    /// killed then. Servers close each connection after a few requests, so that new ones begin all the time, and one that is drained has none in the end.
    /// </summary>
    [Fact]
    public void NoRequestFailsWhileBackendsAreAddedDrainedAndRemoved()
    {
        WebServer one = Serve("one", requests: 4), two = Serve("two", requests: 4);
        MakeService("80:8080", "one", "two");
        Tool wrk = Ask();
        Serves(wrk, one, two);

        WebServer three = Serve("three", requests: 4);
        Switch.Do("backend", "add", Name, Node.Lan["three"].Address);
        Serves(wrk, three);

        Switch.Do("backend", "drain", Backend("two"));
        for (int left = CountOpen("two"); left > 0;)
        {
            int before = left;
            Until.True(() => (left = CountOpen("two")) < before, "connections of the one that is drained come to their end", () => $"{left} are left\n{Ends("two")}{wrk.Error}");
        }
        Switch.Do("backend", "delete", Backend("two"));
        two.Dispose();
        Serves(wrk, one, three);

        two = Serve("two", requests: 4);
        Switch.Do("backend", "add", Name, Node.Lan["two"].Address);
        Serves(wrk, two);
        (int failed, string end) = End(wrk);
        Assert.True(failed == 0, end);
    }

    /// <summary>
    /// A server that is killed takes with it what it has begun, for nobody can go on with that: at most one request fails of each of its open
    /// connections, and no other one. It is no backend any more then, or clients would be sent to somebody who is not there.
    /// </summary>
    [Fact]
    public void AServerThatIsKilledFailsItsOwnRequestsAlone()
    {
        WebServer one = Serve("one", requests: 4), two = Serve("two", requests: int.MaxValue);
        MakeService("80:8080", "one", "two");
        Tool wrk = Ask();
        Serves(wrk, one, two);

        Switch.Do("backend", "delete", Backend("two"));
        int open = CountOpen("two"); // from here on it gets no new ones
        two.Dispose();
        Serves(wrk, one, one);
        (int failed, string end) = End(wrk);
        Assert.True(failed > 0 && failed <= open, $"of {open} open connections\n{end}");
    }

    private string Backend(string label) => $"{Name}/{Node.Lan[label].Address}";

    /// <summary>The client asks, by as many connections as it has.</summary>
    private Tool Ask()
    {
        // A TAP device has a queue of 500 packets: not enough for as many connections that all begin at once.
        foreach (Station station in Node.Lan.Stations)
        {
            station.Namespace.Do("ip", "link", "set", "dev", station.Device, "txqueuelen", $"{Connections}");
        }
        // Ports that were used a second ago are used again, or they would not suffice.
        Node.Client.Do("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1");
        // How long an answer takes is the machine's affair.
        Tool wrk = Own(Node.Client.Start("wrk", "-t", "1", "-c", $"{Connections}", "-d", "300", "--timeout", "300", $"http://{Vip}/"));
        int open = 0;
        Until.True(() => (open = CountOpen("one") + CountOpen("two")) > Connections * 9 / 10, "all connections are open, but for those that begin anew", () => $"{open}\n{wrk.Error}");
        return wrk;
    }

    /// <summary>Each server serves as much again.</summary>
    private static void Serves(Tool wrk, params WebServer[] servers)
    {
        foreach (WebServer server in servers)
        {
            int before = server.Served;
            Until.True(() => server.Served > before + 5000, "it serves", () => wrk.Output + wrk.Error);
        }
    }

    /// <summary>Open connections of a backend.</summary>
    private int CountOpen(string label) => List(label).Count(c => c == '\n');

    private string List(string label) => string.Concat(Open.Select(state => Switch.Do("connections", "--service", Name, "--backend", Node.Lan[label].Address, "--state", state)));

    /// <summary>The first open connections of a backend: what the switch says of each, the client, and the server.</summary>
    private string Ends(string label) => string.Concat(List(label).Split('\n', StringSplitOptions.RemoveEmptyEntries).Take(10).Select(connection =>
    {
        string port = ClientPort().Match(connection).Groups[1].Value;
        return $"{connection}\n{Node.Client.Do("ss", "-Htnoi", $"sport = :{port}")}{Node.Lan[label].Namespace.Do("ss", "-Htnoi", $"dport = :{port}")}";
    }));

    /// <summary>Ends the client. Gives how many of its requests failed, and what it has to say.</summary>
    private (int Failed, string End) End(Tool wrk)
    {
        string end = wrk.Interrupt().Output;
        Assert.True(Requests().Match(end) is { Success: true } requests && Number(requests) > Connections, end);
        Assert.False(end.Contains("Non-2xx", StringComparison.Ordinal), end);
        Assert.Equal("0", Switch.Json("connections", "--stats").GetProperty("refused").ToString());
        Match errors = Errors().Match(end);
        Assert.Equal(end.Contains("Socket errors", StringComparison.Ordinal), errors.Success);
        int failed = errors.Groups.Values.Skip(1).Where(g => g.Success).Sum(g => int.Parse(g.ValueSpan, CultureInfo.InvariantCulture));
        return (failed, $"{end}\n{Switch.Do("stats", "--drops")}{Switch.Do("connections", "--stats")}{Node.Client.Do("ip", "-s", "link", "show", "dev", "eth0")}");
    }

    private static int Number(Match match) => int.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture);

    [GeneratedRegex(@"sport=(\d+)")]
    private static partial Regex ClientPort();

    [GeneratedRegex(@"(\d+) requests in")]
    private static partial Regex Requests();

    [GeneratedRegex(@"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)")]
    private static partial Regex Errors();
}
