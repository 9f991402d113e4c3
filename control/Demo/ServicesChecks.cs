using System.Diagnostics;
using BackendState = Dataplane.Control.Api.V1.Backend.Types.State;

namespace Dataplane.Control.Demo;

/// <summary>
/// The demo of services as a list of checks: who answers, by whose address, what becomes of requests while backends come and go, what each stage
/// did, and the books.
/// </summary>
internal sealed class ServicesChecks(ServicesSession session, CheckList checks)
{
    /// <summary>
    /// Drops that a healthy network has: while ports are being made, kernels announce themselves to nobody and by multicast that no router
    /// passes on; and a service without a backend refuses.
    /// </summary>
    private static readonly string[] ExpectedDrops = ["no-flood-target", "port-disabled", "multicast-not-routed", "not-for-router", "bad-neighbour-discovery", "martian", "service-no-backend"];

    private const int Requests = 40;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);

    public async Task RunAsync(CancellationToken cancel)
    {
        (Node client, Node outside, Node web1) = (ServicesPlan.Client, ServicesPlan.Outside, ServicesPlan.Servers[0]);
        // A client on the servers' own link would be answered directly: it is given the router's address.
        string node = ServicesPlan.NodeAddress;
        await AskAsync("service", client, ServicesPlan.Url, ServicesPlan.Host.Address.ToString(), ["web1", "web2"], cancel);
        await AskAsync("service", outside, ServicesPlan.Url, outside.Address.ToString(), ["web1", "web2"], cancel);
        await AskAsync("node port", outside, $"http://{node}:{ServicesPlan.NodePort}/", outside.Address.ToString(), ["web1", "web2"], cancel);
        await AskAsync("published port", outside, $"http://{node}:{ServicesPlan.PublishedPort}/", outside.Address.ToString(), ["web1"], cancel);
        await AskAsync("hairpin", web1, ServicesPlan.Url, null, ["web1", "web2"], cancel);
        await AskAsync("masquerade", client, $"http://{outside.Address}:{ServicesPlan.ServerPort}/", node, ["outside"], cancel);
        await ShowHopsAsync(cancel);
        await ChangeAsync(cancel);
        await CheckConnectionsAsync(cancel);
        await EmptyAsync(cancel);
        await new SwitchChecks(session.Daemon, "", ExpectedDrops, checks.Report).RunAsync(cancel);
    }

    /// <summary>The first packet of a connection, with what each stage decided about it.</summary>
    public async Task ShowHopsAsync(CancellationToken cancel) =>
        checks.ReportHops("hops", await session.Daemon.TraceAsync(
            ServicesPlan.Client.Port, "tcp[tcpflags] == tcp-syn", 1, () => Tools.CurlAsync(ServicesPlan.Client, ServicesPlan.Url, 1, cancel), cancel));

    private async Task AskAsync(string check, Node client, string url, string? seen, string[] servers, CancellationToken cancel)
    {
        WebAnswers answers = await Tools.CurlAsync(client, url, Requests, cancel);
        string[] strangers = [.. answers.Clients.Where(address => seen is not null && address != seen)];
        string? problem = answers.Problem
            ?? servers.Where(s => !answers.Lines.Any(l => l.StartsWith($"{s} ", StringComparison.Ordinal))).Select(s => $"{s} was not asked: {answers.Figure}").FirstOrDefault()
            ?? (strangers.Length == 0 ? null : $"the servers see {string.Join(", ", strangers)}, not {seen}");
        checks.Report($"{check} {client.Name} -> {url[7..^1]}", problem, $"{answers.Figure}; they see {string.Join(", ", answers.Clients)}");
    }

    /// <summary>A backend is added, another one drained and removed, while requests go on.</summary>
    private async Task ChangeAsync(CancellationToken cancel)
    {
        (Node web2, Node web3) = (ServicesPlan.Servers[1], ServicesPlan.Servers[2]);
        await using var loop = new RequestLoop(ServicesPlan.Client, cancel);
        await WaitAsync("requests go on", () => loop.Answered > 0, cancel);
        await session.SetBackendAsync(web3, BackendState.Ready, cancel);
        await WaitAsync("web3 added, serves", () => session.Served(web3) > 0, cancel);
        await session.SetBackendAsync(web2, BackendState.Draining, cancel);
        int drained = -1;
        await WaitAsync("web2 drained, gets no new requests", () =>
        {
            int before = drained, answered = loop.Answered;
            drained = session.Served(web2);
            return before == drained && loop.Answered >= answered;
        }, cancel, every: TimeSpan.FromMilliseconds(300));
        await session.RemoveBackendAsync(web2, cancel);
        int all = loop.Answered;
        await WaitAsync("web2 removed, the others serve", () => loop.Answered > all + Requests, cancel);
        checks.Report("requests meanwhile", loop.Failed == 0 ? session.Served(web2) == drained ? null : "web2 was asked after it was drained" : loop.Problem,
            $"{loop.Answered} answered, {loop.Failed} failed");
    }

    private async Task CheckConnectionsAsync(CancellationToken cancel)
    {
        int all = (await session.Daemon.ConnectionsAsync(cancel)).Count(c => c.Service == ServicesPlan.ServiceName);
        checks.Report("connections", all > 0 ? null : "none is listed", $"{all} of the service are listed by `dataplane connections`");
    }

    /// <summary>Without a backend a client is told at once.</summary>
    private async Task EmptyAsync(CancellationToken cancel)
    {
        foreach (Node server in new[] { ServicesPlan.Servers[0], ServicesPlan.Servers[2] })
        {
            await session.RemoveBackendAsync(server, cancel);
        }
        var waited = Stopwatch.StartNew();
        WebAnswers answers = await Tools.CurlAsync(ServicesPlan.Client, ServicesPlan.Url, 1, cancel);
        // Not "timed out": somebody has said so.
        bool refused = answers.Problem?.Contains("Failed to connect", StringComparison.Ordinal) == true;
        checks.Report("no backend", refused ? null : answers.Problem ?? $"somebody answers: {answers.Figure}", $"the connection is refused, after {waited.Elapsed.TotalMilliseconds:0} ms");
    }

    private async Task WaitAsync(string check, Func<bool> condition, CancellationToken cancel, TimeSpan? every = null)
    {
        var waited = Stopwatch.StartNew();
        bool holds;
        while (!(holds = condition()) && waited.Elapsed < Patience)
        {
            await Task.Delay(every ?? TimeSpan.FromMilliseconds(5), cancel);
        }
        checks.Report(check, holds ? null : $"not within {Patience.TotalSeconds:0} s", $"after {waited.Elapsed.TotalMilliseconds:0} ms");
    }
}
