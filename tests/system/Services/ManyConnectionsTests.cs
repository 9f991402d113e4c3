using System.Globalization;
using System.Text.RegularExpressions;
using Dataplane.SystemTests.Harness;

namespace Dataplane.SystemTests.Services;

/// <summary>
/// 10,000 connections at a time (<c>wrk</c>) to real servers, which close each one after a few requests, so that new ones begin all the time.
/// </summary>
public sealed partial class ManyConnectionsTests(ServiceNode node) : ServiceTest(node)
{
    private const int Connections = 10_000, RequestsEach = 4;

    [LoadFact]
    public void NotOneRequestFailsWhileBackendsAreAddedDrainedAndKilled()
    {
        WebServer one = Serve("one", requests: RequestsEach), two = Serve("two", requests: RequestsEach);
        MakeService("80:8080", "one", "two");
        // Ports of the client that were used a second ago are used again.
        Node.Client.Do("sysctl", "-qw", "net.ipv4.ip_local_port_range=1024 65535", "net.ipv4.tcp_tw_reuse=1");
        Tool wrk = Own(Node.Client.Start("wrk", "-t", "1", "-c", $"{Connections}", "-d", "300", "--timeout", "30", $"http://{Vip}/"));
        Serves(one, wrk);
        Serves(two, wrk);
        Until.True(() => one.Connections + two.Connections > Connections * 3 / 4, "all connections are open, but for those that begin anew", () => $"{one.Connections} and {two.Connections}\n{wrk.Error}");

        WebServer three = Serve("three", requests: RequestsEach);
        Switch.Do("backend", "add", Name, Node.Lan["three"].Address);
        Serves(three, wrk);

        string backend = $"{Name}/{Node.Lan["two"].Address}";
        Switch.Do("backend", "drain", backend);
        for (int left = two.Connections; left > 0; left = two.Connections)
        {
            // On a machine with much else to do that takes its time.
            Until.True(() => two.Connections < left, "the connections of the one that is drained come to their end", () => $"{left} are left");
        }
        two.Dispose();
        Switch.Do("backend", "delete", backend);
        Serves(one, wrk);
        Serves(three, wrk);

        two = Serve("two", requests: RequestsEach);
        Switch.Do("backend", "add", Name, Node.Lan["two"].Address);
        Serves(two, wrk);
        string end = wrk.Interrupt().Output;
        Assert.True(!end.Contains("Socket errors", StringComparison.Ordinal) && !end.Contains("Non-2xx", StringComparison.Ordinal), end);
        Assert.True(int.Parse(Requests().Match(end).Groups[1].ValueSpan, CultureInfo.InvariantCulture) > Connections, end);
        Assert.Equal("0", Switch.Json("connections", "--stats").GetProperty("refused").ToString());
    }

    /// <summary>It serves as much again.</summary>
    private static void Serves(WebServer server, Tool wrk)
    {
        int before = server.Served;
        Until.True(() => server.Served > before + 1000, "it serves", () => wrk.Output + wrk.Error);
    }

    [GeneratedRegex(@"(\d+) requests in")]
    private static partial Regex Requests();
}
