using Dataplane.Control.Api.V1;
using Dataplane.Control.State;
using Dataplane.Memory;
using Grpc.Core;
using Type = Dataplane.Control.Api.V1.WatchEvent.Types.Type;

namespace Dataplane.UnitTests.Control;

/// <summary>Watches over a real connection: that they miss nothing, or say that they did.</summary>
public sealed class WatchTests : IAsyncLifetime
{
    private ServedApi _api = null!;

    public async Task InitializeAsync() => _api = await ServedApi.StartAsync(options: new SegmentOptions { MacCapacity = 65_536 });

    public async Task DisposeAsync() => await _api.DisposeAsync();

    /// <summary>Whoever keeps what a watch tells has, at each moment, what a listing of that revision would give.</summary>
    [Fact]
    public async Task AWatchBegunInTheMidstOfChangesMissesNothing()
    {
        Resource end = Mac(20_000);
        await _api.Bench.Apply(Make.Net("n"), Make.Memory("a", "n"));
        Task changes = Task.Run(async () =>
        {
            for (int i = 0; i < 2000; i++)
            {
                await _api.Bench.Apply(Mac(i), Mac(i + 1), Mac(10_000 + (i % 10), port: i % 20 < 10 ? "a" : ""));
                if (i % 3 == 2)
                {
                    await _api.Bench.Delete((Kind.StaticMac, Mac(i).StaticMac.Name));
                }
            }
            await _api.Bench.Apply(end);
        });
        while (_api.Bench.Controller.State.Revision < 50)
        {
            await Task.Delay(1);
        }
        var seen = new Dictionary<string, Resource>();
        ulong last = 0;
        int markers = 0;
        using AsyncServerStreamingCall<WatchEvent> call = Watch(new WatchRequest { Kinds = { Kind.StaticMac } });
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(60));
        while (markers == 0 || !seen.ContainsKey(end.StaticMac.Name))
        {
            Assert.True(await call.ResponseStream.MoveNext(patience.Token));
            WatchEvent change = call.ResponseStream.Current;
            Assert.True(change.Revision >= last);
            last = change.Revision;
            Assert.Equal(change.Type == Type.Snapshot, markers == 0 && change.Type != Type.Synced);
            switch (change.Type)
            {
                case Type.Synced:
                    markers++;
                    break;
                case Type.Deleted:
                    Assert.True(seen.Remove(change.Resource.Name), "deleted what was not there");
                    break;
                case Type.Updated:
                    Assert.True(seen.ContainsKey(change.Resource.Name), "updated what was not there");
                    seen[change.Resource.Name] = change.Resource;
                    break;
                default:
                    Assert.True(seen.TryAdd(change.Resource.Name, change.Resource), "created what was there");
                    break;
            }
        }
        await changes;
        Assert.Equal(1, markers);
        Assert.Equal(
            _api.Bench.Controller.State.StaticMacs.Values,
            seen.OrderBy(s => s.Key, StringComparer.Ordinal).Select(s => s.Value.StaticMac));
    }

    [Fact]
    public async Task ASlowClientIsToldToListAgainAndThenGoesOn()
    {
        await _api.Bench.Apply(Make.Net("n"), Make.Memory("a", "n"));
        using AsyncServerStreamingCall<WatchEvent> slow = Watch(new WatchRequest());
        using AsyncServerStreamingCall<WatchEvent> ports = Watch(new WatchRequest { Kinds = { Kind.Port } });
        foreach (AsyncServerStreamingCall<WatchEvent> call in new[] { slow, ports })
        {
            await ReadUntilAsync(call, Type.Synced);
        }
        const int Batch = 2000, Batches = 20;
        for (int i = 0; i < Batches; i++)
        {
            await _api.Bench.Apply([.. Enumerable.Range(i * Batch, Batch).Select(n => Mac(n))]);
        }
        int seen = 0;
        RpcException error = await Assert.ThrowsAsync<RpcException>(async () =>
        {
            while (await slow.ResponseStream.MoveNext(CancellationToken.None))
            {
                seen++;
            }
        });
        Assert.Equal(StatusCode.OutOfRange, error.StatusCode);
        Assert.Contains("list again", error.Status.Detail, StringComparison.Ordinal);
        Assert.InRange(seen, 1, Batch * Batches / 2);

        // As it was told: list, then watch from the revision of the list.
        ListResponse list = await _api.Resources.ListAsync(new ListRequest { Kind = Kind.Network });
        using AsyncServerStreamingCall<WatchEvent> again = Watch(new WatchRequest { FromRevision = list.Revision, Kinds = { Kind.Port } });
        await _api.Bench.Apply(Make.Memory("b", "n"));
        Assert.Equal("b", (await ReadUntilAsync(again, Type.Created)).Resource.Name);
        // Who watches something else was not harmed by the flood.
        Assert.Equal("b", (await ReadUntilAsync(ports, Type.Created)).Resource.Name);
    }

    [Fact]
    public async Task ARevisionThatIsForgottenIsOutOfRange()
    {
        await _api.Bench.Apply(Make.Net("n"), Make.Memory("a", "n"));
        await _api.Bench.Apply([.. Enumerable.Range(0, 20_000).Select(n => Mac(n))]);
        using AsyncServerStreamingCall<WatchEvent> call = Watch(new WatchRequest { FromRevision = 1 });
        RpcException error = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.Equal(StatusCode.OutOfRange, error.StatusCode);
    }

    [Fact]
    public async Task AKindThatDoesNotExistIsRefused()
    {
        using AsyncServerStreamingCall<WatchEvent> call = Watch(new WatchRequest { Kinds = { Kind.Unspecified } });
        RpcException error = await Assert.ThrowsAsync<RpcException>(() => call.ResponseStream.MoveNext(CancellationToken.None));
        Assert.Equal(StatusCode.InvalidArgument, error.StatusCode);
    }

    private static Resource Mac(int n, string port = "a")
    {
        Resource mac = Make.Mac("n", $"02:00:00:00:{n >> 8:x2}:{n & 0xFF:x2}", port);
        mac.StaticMac.Name = ResourceKeys.StaticMacName("n", 0, mac.StaticMac.Mac);
        return mac;
    }

    private AsyncServerStreamingCall<WatchEvent> Watch(WatchRequest request) =>
        _api.Resources.Watch(request, deadline: DateTime.UtcNow.AddMinutes(1));

    private static async Task<WatchEvent> ReadUntilAsync(AsyncServerStreamingCall<WatchEvent> call, Type type)
    {
        while (await call.ResponseStream.MoveNext(CancellationToken.None))
        {
            if (call.ResponseStream.Current.Type == type)
            {
                return call.ResponseStream.Current;
            }
        }
        throw new InvalidOperationException("the watch has ended");
    }
}
